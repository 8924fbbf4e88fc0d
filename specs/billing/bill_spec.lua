describe("creating a bill", function()
  it("opens it for a customer", function()
    aggregate("bill", "bill-7")
      :when   { CreateBill { customer = "acme", start_date = "2026-01-01T00:00:00Z" } }
      :expect { BillCreated { customer = "acme", start_date = "2026-01-01T00:00:00Z" } }
  end)

  it("is refused the second time", function()
    aggregate("bill", "bill-7")
      :given   { BillCreated { customer = "acme", start_date = "2026-01-01T00:00:00Z" } }
      :when    { CreateBill { customer = "acme", start_date = "2026-01-02T00:00:00Z" } }
      :rejects "exists"
  end)
end)

describe("adding services to a bill", function()
  it("counts them", function()
    aggregate("bill", "bill-7")
      :given  { BillCreated { customer = "acme", start_date = "2026-01-01T00:00:00Z" } }
      :when   { AddServicesToBill { services = 3 } }
      :expect { ServicesAddedToBill { services = 3 } }
  end)

  it("is refused on a bill that was never created", function()
    aggregate("bill", "bill-7"):when { AddServicesToBill { services = 3 } }:rejects "unknown"
  end)

  it("is refused for none", function()
    aggregate("bill", "bill-7")
      :given   { BillCreated { customer = "acme", start_date = "2026-01-01T00:00:00Z" } }
      :when    { AddServicesToBill { services = 0 } }
      :rejects "no_services"
  end)
end)

describe("closing a bill", function()
  it("counts the closing as a service", function()
    aggregate("bill", "bill-7")
      :given  { BillCreated { customer = "acme", start_date = "2026-01-01T00:00:00Z" } }
      :when   { CloseBill { close_date = "2026-02-01T00:00:00Z" } }
      :expect { ServicesAddedToBill { services = 1 },
                BillClosed { customer = "acme", close_date = "2026-02-01T00:00:00Z" } }
  end)

  it("is refused the second time", function()
    aggregate("bill", "bill-7")
      :given   { BillCreated { customer = "acme", start_date = "2026-01-01T00:00:00Z" },
                 BillClosed { customer = "acme", close_date = "2026-02-01T00:00:00Z" } }
      :when    { CloseBill { close_date = "2026-02-02T00:00:00Z" } }
      :rejects "closed"
  end)

  it("is refused before the bill was opened", function()
    aggregate("bill", "bill-7")
      :given   { BillCreated { customer = "acme", start_date = "2026-01-01T00:00:00Z" } }
      :when    { CloseBill { close_date = "2025-12-31T00:00:00Z" } }
      :rejects "too_early"
  end)
end)

describe("reopening a bill", function()
  it("takes services again", function()
    aggregate("bill", "bill-7")
      :given  { BillCreated { customer = "acme", start_date = "2026-01-01T00:00:00Z" },
                BillClosed { customer = "acme", close_date = "2026-02-01T00:00:00Z" } }
      :when   { ReopenBill {}, AddServicesToBill { services = 2 } }
      :expect { BillReopened {}, ServicesAddedToBill { services = 2 } }
  end)

  it("is refused while it is open", function()
    aggregate("bill", "bill-7")
      :given   { BillCreated { customer = "acme", start_date = "2026-01-01T00:00:00Z" } }
      :when    { ReopenBill {} }
      :rejects "open"
  end)
end)

describe("the open_bills view", function()
  it("shows a bill until it is closed", function()
    projection "open_bills"
      :given  { on("bill-7", BillCreated { customer = "acme", start_date = "2026-01-01T00:00:00Z" }),
                on("bill-7", ServicesAddedToBill { services = 3 }),
                on("bill-8", BillCreated { customer = "blix", start_date = "2026-01-02T00:00:00Z" }),
                on("bill-8", BillClosed { customer = "blix", close_date = "2026-02-01T00:00:00Z" }) }
      :expect { ["bill-7"] = { customer = "acme", opened = "2026-01-01T00:00:00.000Z", services = 3 } }
  end)
end)
