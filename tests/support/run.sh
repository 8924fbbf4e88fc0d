#!/bin/sh
# run.sh: make run. Fills an empty data directory with a small made-up data set, says what to try next, and serves.
set -eu
if [ ! -e data/log ]; then
  echo "make run: ./data is empty: sending a small made-up data set" >&2
  ./lore send - <scripts/sample.ndjson >/dev/null
fi
listen="${LISTEN:-127.0.0.1:7070}"
port="${listen##*:}"
cat >&2 <<T

The hub serves scripts/: security, billing, mailing and fines. In another terminal, try:

  curl -s localhost:$port/v1/main/views/billing/outstanding_invoices
  curl -s localhost:$port/v1/main/billing/bill/42 -d '{"type":"CreateBill","data":{"customer":"you","start_date":"2026-01-01"}}'
  curl -sN localhost:$port/v1/main/events -H 'Accept: text/event-stream'
  ./lore state billing/bill/42
  ./lore status
  ./lore task run invoice_expiration

Some invoices are long overdue: their reminders fail until LORE_SECRET_MAIL_URL says where to post mail; lore status shows them, nothing else
is harmed. A mail catcher on this machine is http://127.0.0.1:8025 (other private addresses: scripts/hub.lua).

Edit scripts/billing/open_bills.lua and see what that would change: ./lore deploy --plan; then ./lore deploy, ./lore undeploy.

T
exec ./lore serve scripts --data data --listen "$listen"
