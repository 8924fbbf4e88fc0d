local pricing = require "pricing"
local terms = require "terms"

local invoice = aggregate "invoice" { initial = { paid = decimal "0.00" } }

function invoice.apply.InvoiceIssued(state, e)
  state.customer, state.total, state.status = e.customer, e.total, "open"
  state.due_on, state.expires_on = e.due_on, terms.expires_on(e.due_on)
end

function invoice.apply.PaymentReceived(state, e)
  state.paid = state.paid + e.amount
end

function invoice.apply.InvoicePaid(state)
  state.status = "paid"
end

function invoice.apply.InvoiceExpired(state, e)
  state.expires_on = e.again_on
end

function invoice.apply.InvoiceCancelled(state)
  state.status = "cancelled"
end

local function must_be_open(state, m)
  if not state.status then reject("unknown", "there is no invoice %s", m.id) end
  if state.status ~= "open" then reject(state.status, "invoice %s is %s", m.id, state.status) end
end

function invoice.execute.IssueInvoice(state, c, m)
  if state.status then reject("exists", "invoice %s was issued to %s", m.id, state.customer) end
  if #c.lines == 0 then reject("empty", "an invoice needs at least one line") end
  local total = pricing.total(c.lines)
  if total <= decimal(0) then reject("worthless", "an invoice over %s asks for nothing", total) end
  return InvoiceIssued { customer = c.customer, lines = c.lines, total = total, due_on = c.due_on }
end

function invoice.execute.PayInvoice(state, c, m)
  must_be_open(state, m)
  if c.amount <= decimal(0) then reject("amount", "a payment of %s is none", c.amount) end
  local open = state.total - state.paid
  if c.amount > open then reject("too_much", "only %s is open on invoice %s", open, m.id) end
  emit(PaymentReceived { amount = c.amount, open = open - c.amount })
  if state.paid == state.total then
    return InvoicePaid { customer = state.customer, total = state.total }
  end
end

function invoice.execute.CancelInvoice(state, c, m)
  must_be_open(state, m)
  if not state.paid:is_zero() then reject("part_paid", "%s was paid on invoice %s", state.paid, m.id) end
  return InvoiceCancelled { customer = state.customer, reason = c.reason, total = state.total }
end

function invoice.execute.ExpireInvoice(state, c, m)
  must_be_open(state, m)
  if c.on < state.expires_on then reject("early", "invoice %s expires on %s", m.id, state.expires_on) end
  return InvoiceExpired { customer = state.customer, login = c.login, open = state.total - state.paid,
                          due_on = state.due_on, again_on = terms.expires_on(c.on) }
end
