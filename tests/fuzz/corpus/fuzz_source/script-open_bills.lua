-- One document per bill that is not closed.
local open = projection "open_bills" {
  key     = function(_, m) return m.id end,
  initial = { services = 0 },
  index   = { "customer" },
}

function open.when.BillCreated(view, e)
  view.customer, view.opened = e.customer, e.start_date
end

function open.when.ServicesAddedToBill(view, e)
  view.services = view.services + e.services
end

function open.when.BillClosed() return false end

function open.when.BillReopened(view)
  view.reopened = true
end
