-- Services may not reach private addresses, but for a mail catcher on this machine: LORE_SECRET_MAIL_URL=http://127.0.0.1:8025/send
return { http = { allow = { "127.0.0.1:8025" } } }
