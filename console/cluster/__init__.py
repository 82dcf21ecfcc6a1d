"""Everything done to hosts, without a screen: SSH, facts, provision, deploy, attach."""
