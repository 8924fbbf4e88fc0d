local function created(amount, date, officer)
  return FineCreated { amount = decimal(amount), date = date, officer = officer or "18", vehicle_class = "A",
                       article = 158, points = 0, dismissal = "NIL" }
end

describe("the cases view", function()
  it("holds the end state of a fine", function()
    projection "cases"
      :given  { at("2006-07-23T22:00:00Z", on("A1", created("35.00", "2006-07-24"))),
                at("2006-12-04T23:00:00Z", on("A1", FineSent { expense = decimal "11.00", date = "2006-12-05" })) }
      :expect { A1 = { events = 2, first = "2006-07-23T22:00:00.000Z", last = "2006-12-04T23:00:00.000Z",
                       fine = decimal "35.00", amount = decimal "35.00", expense = decimal "11.00", payments = 0,
                       paid = decimal "0.00", balance = decimal "46.00", status = "unpaid", dismissal = "NIL" } }
  end)

  it("knows who paid too much", function()
    projection "cases"
      :given  { at("2006-07-23T22:00:00Z", on("A1", created("35.00", "2006-07-24"))),
                at("2006-08-23T22:00:00Z", on("A1", PaymentReceived { amount = decimal "36.00", date = "2006-08-24" })) }
      :expect { A1 = { events = 2, first = "2006-07-23T22:00:00.000Z", last = "2006-08-23T22:00:00.000Z",
                       fine = decimal "35.00", amount = decimal "35.00", expense = decimal "0.00", payments = 1,
                       paid = decimal "36.00", balance = decimal "-1.00", status = "overpaid", dismissal = "NIL" } }
  end)
end)

describe("the other views", function()
  it("totals_by_month counts by kind of event", function()
    projection "totals_by_month"
      :given  { on("A1", created("35.00", "2006-07-24")), on("A2", created("31.30", "2006-07-25")),
                on("A1", PaymentReceived { amount = decimal "35.00", date = "2006-08-01" }) }
      :expect { ["2006-07"] = { FineCreated = { count = 2, euro = decimal "66.30" } },
                ["2006-08"] = { PaymentReceived = { count = 1, euro = decimal "35.00" } } }
  end)

  it("in_collection lists what the collectors have", function()
    projection "in_collection"
      :given  { on("A1", created("35.00", "2006-07-24")),
                on("A1", SentToCollection { outstanding = decimal "35.00", date = "2009-03-30" }) }
      :expect { A1 = { since = "2009-03-30", outstanding = decimal "35.00" } }
  end)

  it("officers counts fines and appeals", function()
    projection "officers"
      :given  { on("A1", created("35.00", "2006-07-24", "18")), on("A2", created("31.30", "2006-07-25", "18")),
                on("A2", AppealedToJudge { officer = "22", dismissal = "G", date = "2007-05-01" }) }
      :expect { ["18"] = { fines = 2, euro = decimal "66.30", appeals = 0 },
                ["22"] = { fines = 0, euro = decimal "0.00", appeals = 1 } }
  end)
end)
