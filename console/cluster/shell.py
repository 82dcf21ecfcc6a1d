"""Pieces of POSIX shell that several scripts for the hosts share."""

# a profile's path as this host means it; the tilde is data here, no shell expands it
EXPAND = """expand() {
  case $1 in
    "~") printf '%s\\n' "$HOME";;
    "~/"*) printf '%s\\n' "$HOME/${1#??}";;
    *) printf '%s\\n' "$1";;
  esac
}
"""
# $1 the finished folder, $2 its name to be, $3 a path in it without which it is of no use. Another console
# may be as far: whoever comes second throws its own away, also where `mv` has put it into the first's.
PLACE = """place() {
  [ -e "$2/$3" ] && return 0
  [ ! -e "$2" ] && [ ! -L "$2" ] || rm -rf -- "$2" || return 1
  mv -- "$1" "$2" && rm -rf -- "$2/${1##*/}"
}
"""
