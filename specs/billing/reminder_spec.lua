-- An invoice that nobody pays: the task suspects it, the receptor asks the invoice, the invoice decides. Mailing does the rest.
local issued = { customer = "acme", due_on = "2026-02-15", total = decimal "30.50",
                 lines = { { text = "hosting", quantity = 2, price = decimal "15.25" } } }
local late = { customer = "acme", login = "ada@acme.example", open = decimal "30.50", due_on = "2026-02-15", again_on = "2026-03-18" }

describe("invoice_expiration", function()
  local waiting = { ["i-1"] = { customer = "acme", expires_on = "2026-03-02T00:00:00.000Z" },
                    ["i-2"] = { customer = "acme", expires_on = "2026-03-03T00:00:00.000Z" } }
  local known = { acme = { login = "ada@acme.example" } }

  it("publishes what expired until now", function()
    task "invoice_expiration"
      :given_view("outstanding_invoices", waiting)
      :given_view("customers", known)
      :at "2026-03-02"
      :expect { InvoicePossiblyExpired { invoice = "i-1", login = "ada@acme.example", on = "2026-03-02" } }
  end)

  it("passes customers to whom we cannot write", function()
    task "invoice_expiration":given_view("outstanding_invoices", waiting):at "2026-03-02":expect {}
  end)
end)

describe("expiration", function()
  it("asks the invoice", function()
    receptor "expiration"
      :given  { InvoicePossiblyExpired { invoice = "i-1", login = "ada@acme.example", on = "2026-03-02" } }
      :expect { send.invoice("i-1", ExpireInvoice { login = "ada@acme.example", on = "2026-03-02" }) }
  end)
end)

describe("an invoice that may have expired", function()
  it("did, and will again", function()
    aggregate("invoice", "i-1")
      :given  { InvoiceIssued(issued) }
      :when   { ExpireInvoice { login = "ada@acme.example", on = "2026-03-03" } }
      :expect { InvoiceExpired(late) }
  end)

  it("asks for what is open only", function()
    aggregate("invoice", "i-1")
      :given  { InvoiceIssued(issued), PaymentReceived { amount = decimal "10.50", open = decimal "20.00" } }
      :when   { ExpireInvoice { login = "ada@acme.example", on = "2026-03-03" } }
      :expect { InvoiceExpired { customer = "acme", login = "ada@acme.example", open = decimal "20.00",
                                 due_on = "2026-02-15", again_on = "2026-03-18" } }
  end)

  it("did not if it was paid meanwhile", function()
    aggregate("invoice", "i-1")
      :given   { InvoiceIssued(issued), InvoicePaid { customer = "acme", total = decimal "30.50" } }
      :when    { ExpireInvoice { login = "ada@acme.example", on = "2026-03-03" } }
      :rejects "paid"
  end)

  it("is not asked for twice in fifteen days", function()
    aggregate("invoice", "i-1")
      :given   { InvoiceIssued(issued), InvoiceExpired(late) }
      :when    { ExpireInvoice { login = "ada@acme.example", on = "2026-03-17" } }
      :rejects "early"
  end)

  it("waits for its next time in outstanding_invoices", function()
    projection "outstanding_invoices"
      :given  { on("i-1", InvoiceIssued(issued)), on("i-1", InvoiceExpired(late)) }
      :expect { ["i-1"] = { customer = "acme", due_on = "2026-02-15T00:00:00.000Z", expires_on = "2026-03-18T00:00:00.000Z",
                            paid = decimal "0.00", total = decimal "30.50" } }
  end)
end)
