local issued = { customer = "acme", due_on = "2026-02-15T00:00:00Z", total = decimal "30.50",
                 lines = { { text = "hosting", quantity = 2, price = decimal "15.25" } } }

describe("issuing an invoice", function()
  it("adds its lines up", function()
    aggregate("invoice", "i-1")
      :when   { IssueInvoice { customer = "acme", due_on = "2026-02-15T00:00:00Z",
                               lines = { { text = "hosting", quantity = 2, price = decimal "15.25" } } } }
      :expect { InvoiceIssued(issued) }
  end)

  it("is refused without lines", function()
    aggregate("invoice", "i-1")
      :when    { IssueInvoice { customer = "acme", due_on = "2026-02-15T00:00:00Z", lines = list {} } }
      :rejects "empty"
  end)

  it("is refused the second time", function()
    aggregate("invoice", "i-1")
      :given   { InvoiceIssued(issued) }
      :when    { IssueInvoice { customer = "acme", due_on = "2026-02-15T00:00:00Z",
                                lines = { { text = "hosting", quantity = 2, price = decimal "15.25" } } } }
      :rejects "exists"
  end)
end)

describe("paying an invoice", function()
  it("takes a part", function()
    aggregate("invoice", "i-1")
      :given  { InvoiceIssued(issued) }
      :when   { PayInvoice { amount = decimal "10.50" } }
      :expect { PaymentReceived { amount = decimal "10.50", open = decimal "20.00" } }
  end)

  it("closes it with the last part", function()
    aggregate("invoice", "i-1")
      :given  { InvoiceIssued(issued), PaymentReceived { amount = decimal "10.50", open = decimal "20.00" } }
      :when   { PayInvoice { amount = decimal "20.00" } }
      :expect { PaymentReceived { amount = decimal "20.00", open = decimal "0.00" },
                InvoicePaid { customer = "acme", total = decimal "30.50" } }
  end)

  it("is refused above what is open", function()
    aggregate("invoice", "i-1")
      :given   { InvoiceIssued(issued) }
      :when    { PayInvoice { amount = decimal "30.51" } }
      :rejects "too_much"
  end)

  it("is refused when it is paid", function()
    aggregate("invoice", "i-1")
      :given   { InvoiceIssued(issued), InvoicePaid { customer = "acme", total = decimal "30.50" } }
      :when    { PayInvoice { amount = decimal "1.00" } }
      :rejects "paid"
  end)
end)

describe("cancelling an invoice", function()
  it("takes it back", function()
    aggregate("invoice", "i-1")
      :given  { InvoiceIssued(issued) }
      :when   { CancelInvoice { reason = "wrong address" } }
      :expect { InvoiceCancelled { customer = "acme", reason = "wrong address", total = decimal "30.50" } }
  end)

  it("is refused once something was paid", function()
    aggregate("invoice", "i-1")
      :given   { InvoiceIssued(issued), PaymentReceived { amount = decimal "10.50", open = decimal "20.00" } }
      :when    { CancelInvoice { reason = "wrong address" } }
      :rejects "part_paid"
  end)
end)

describe("the views of invoices", function()
  it("outstanding_invoices shows what waits for money", function()
    projection "outstanding_invoices"
      :given  { on("i-1", InvoiceIssued(issued)),
                on("i-1", PaymentReceived { amount = decimal "10.50", open = decimal "20.00" }),
                on("i-2", InvoiceIssued(issued)),
                on("i-2", InvoicePaid { customer = "acme", total = decimal "30.50" }) }
      :expect { ["i-1"] = { customer = "acme", due_on = "2026-02-15T00:00:00.000Z", expires_on = "2026-03-02T00:00:00.000Z",
                            paid = decimal "10.50", total = decimal "30.50" } }
  end)

  it("revenue_by_month adds up", function()
    projection "revenue_by_month"
      :given  { at("2026-01-15T10:00:00Z", InvoiceIssued(issued)),
                at("2026-02-01T10:00:00Z", PaymentReceived { amount = decimal "10.50", open = decimal "20.00" }) }
      :expect { ["2026-01"] = { invoiced = decimal "30.50", received = decimal "0.00", count = 1 },
                ["2026-02"] = { invoiced = decimal "0.00", received = decimal "10.50", count = 1 } }
  end)
end)
