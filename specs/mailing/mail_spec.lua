local reminder = { to = "ada@acme.example", invoice = "i-1", open = decimal "30.50", due_on = "2026-02-15" }

-- The service with a mail server that answers so.
local function mail_server(answer)
  return service "mail"
    :env  { MAIL_URL = "https://mail.example/send" }
    :http { ["POST https://mail.example/send"] = answer }
    :when { SendReminder(reminder) }
end

describe("an expired invoice", function()
  it("is a mail to its customer", function()
    receptor "reminders"
      :given  { on("i-1", billing.InvoiceExpired { customer = "acme", login = "ada@acme.example", open = decimal "30.50",
                                                   due_on = "2026-02-15", again_on = "2026-03-18" }) }
      :expect { send.mail(SendReminder(reminder)) }
  end)
end)

describe("mail", function()
  it("is posted, and that is told", function()
    mail_server(function(request)
      assert.same({ to = "ada@acme.example", subject = "Invoice i-1", text = "30.50 is still open, and was due on 2026-02-15." },
        request.json())
      return { status = 202 }
    end):expect { ReminderSent(reminder) }
  end)

  it("is tried again when the server is busy", function()
    mail_server { status = 503 }:retries "10s"
  end)

  it("is given up when the server does not want it", function()
    mail_server { status = 400 }:rejects "refused"
  end)

  it("fails, to be tried again, when no answer comes", function()
    mail_server { error = "timed out" }:fails "timed out"
  end)

  it("fails without the address of a server", function()
    service "mail":when { SendReminder(reminder) }:fails "env.MAIL_URL: there is no secret of this name"
  end)
end)
