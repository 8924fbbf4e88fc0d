-- Free style: one document per month, with what was invoiced and what came in.
local revenue = projection "revenue_by_month" { key = false }

local function add(docs, m, field, amount)
  docs:update(m.at:sub(1, 7), { invoiced = decimal "0.00", received = decimal "0.00", count = 0 }, function(month)
    month[field] = month[field] + amount
    month.count = month.count + 1
  end)
end

function revenue.when.InvoiceIssued(docs, e, m) add(docs, m, "invoiced", e.total) end

function revenue.when.PaymentReceived(docs, e, m) add(docs, m, "received", e.amount) end

function revenue.when.InvoiceCancelled(docs, e, m) add(docs, m, "invoiced", -e.total) end
