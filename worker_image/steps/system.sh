#!/bin/sh
# Debian's programs and an own Python environment; the unprivileged user. Changes about once a year.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends \
    ca-certificates curl stunnel4 \
    python3 python3-venv \
    poppler-utils tesseract-ocr tesseract-ocr-eng tesseract-ocr-osd \
    fontconfig fonts-liberation fonts-urw-base35 >/dev/null
python3 -m venv /opt/venv
apt-get purge -y -qq --autoremove python3-venv >/dev/null  # its wheels have done their work
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /usr/share/doc/* /usr/share/man/* /usr/share/locale/*
useradd --system --create-home --home-dir /home/worker --shell /usr/sbin/nologin worker
install -d -m 0755 /var/lib/aseagi
