"""Reads a model folder without loading it: config.json and safetensors headers; standard library only."""
