-- Looks for invoices whose time has passed, of customers to whom we can write.
local expiration = task "invoice_expiration" { every = "15m" }

function expiration.run(now)
  for id, invoice in views.outstanding_invoices:range("expires_on", nil, now) do
    local customer = views.customers:get(invoice.customer)
    if customer then publish(InvoicePossiblyExpired { invoice = id, login = customer.login, on = now }) end
  end
end
