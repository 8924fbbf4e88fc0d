-- One document per invoice that still waits for money.
local terms = require "terms"

local outstanding = projection "outstanding_invoices" {
  key     = function(_, m) return m.id end,
  initial = { paid = decimal "0.00" },
  index   = { "due_on", "customer", "expires_on" },
}

function outstanding.when.InvoiceIssued(view, e)
  view.customer, view.total, view.due_on = e.customer, e.total, e.due_on
  view.expires_on = terms.expires_on(e.due_on)
end

function outstanding.when.InvoiceExpired(view, e)
  view.expires_on = e.again_on
end

function outstanding.when.PaymentReceived(view, e)
  view.paid = view.paid + e.amount
end

function outstanding.when.InvoicePaid() return false end

function outstanding.when.InvoiceCancelled() return false end
