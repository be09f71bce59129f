#!/bin/sh
# Installs the programs that ASEAGI runs, where they are missing: with apt-get on Debian and Ubuntu, with Homebrew on macOS.
#   programs.sh        what the pipeline needs
#   programs.sh test   and what its tests need
set -eu

has() { command -v "$1" >/dev/null 2>&1; }
languages() { tesseract --list-langs 2>/dev/null | grep -qx "$1"; }
font() { fc-list 2>/dev/null | grep -qi "$1"; }

deb="" brew=""
need() { deb="$deb $1"; brew="$brew $2"; }
has redis-server || need redis-server redis
has pdftoppm && has pdftotext && has pdfinfo || need poppler-utils poppler
has tesseract && languages eng || need "tesseract-ocr tesseract-ocr-eng" tesseract
has tesseract && languages osd || need tesseract-ocr-osd tesseract
# Fonts for pages that name Times, Helvetica or Courier and do not bring them; also what the samples are set in.
if [ "$(uname)" = Linux ]; then
    font liberation || need "fontconfig fonts-liberation" ""
    font "nimbus" || need fonts-urw-base35 ""
    # names in reports: Cyrillic, Greek, Hebrew, Arabic, Vietnamese; Chinese and Japanese
    font dejavu || need "fontconfig fonts-dejavu-core" ""
    font "droid sans fallback" || need fonts-droid-fallback ""
fi
python=${PYTHON:-python3}
"$python" -c 'import ensurepip, venv' 2>/dev/null || need python3-venv python
if [ "${1:-}" = test ]; then
    has qpdf || need qpdf qpdf
    # Debian keeps the server's programs off the path
    has initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need "postgresql postgresql-contrib" postgresql
    # the tunnel of rented machines, and what a machine destroys itself with
    has stunnel || need stunnel4 stunnel
    has curl || need "curl ca-certificates" curl
    has ip || need iproute2 ""
    # Debian keeps it off the path of users
    has nginx || [ -x /usr/sbin/nginx ] || need nginx-light nginx
    has rclone || need rclone rclone
    has chromium || need chromium chromium
    has pg_dump || need postgresql-client libpq
fi
deb=$(echo $deb) brew=$(echo $brew)
[ -n "$deb" ] || exit 0

if has apt-get; then
    sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    echo "installing: $deb"
    export DEBIAN_FRONTEND=noninteractive
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    $sudo apt-get install -y -qq --no-install-recommends $deb >/dev/null
elif has brew; then
    echo "installing: $brew"
    # shellcheck disable=SC2086
    brew install $brew
else
    echo "Neither apt-get nor brew is here. Please install: $deb" >&2
    exit 5
fi
