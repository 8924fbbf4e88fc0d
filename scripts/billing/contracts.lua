-- Commands (?) and events (!) of billing: all that other contexts may know of it.
contracts [[
  let bill  = (customer: string)
  let money = decimal
  let line  = (text: string, quantity: integer, price: money)

  -- a bill collects services until it is closed
  CreateBill?          (bill, start_date: time)
  BillCreated!         (bill, start_date: time)
  AddServicesToBill?   (services: integer)
  ServicesAddedToBill! (services: integer)
  CloseBill?           (close_date: time, note: string?)
  BillClosed!2         (customer: string, close_date: time, note: string?)
  ReopenBill?
  BillReopened!

  -- an invoice asks for money until it is paid or cancelled
  IssueInvoice?        (customer: string, lines: line[], due_on: time)
  InvoiceIssued!       (customer: string, lines: line[], total: money, due_on: time)
  PayInvoice?          (amount: money)
  PaymentReceived!     (amount: money, open: money)
  InvoicePaid!         (customer: string, total: money)
  CancelInvoice?       (reason: string)
  InvoiceCancelled!    (customer: string, reason: string, total: money)

  -- the reminder process: a task suspects, the invoice decides, mailing reminds
  InvoicePossiblyExpired! (invoice: string, login: string, on: time)
  ExpireInvoice?          (login: string, on: time)
  InvoiceExpired!         (customer: string, login: string, open: money, due_on: time, again_on: time)

  -- customers are users of security
  CreateUser?          (login: string)
  UserCreated!         (login: string)
  RemoveUser?
  UserRemoved!
]]

-- version 1 of BillClosed had no customer
function upcast.BillClosed.v1(e)
  e.customer = "unknown"
  return e
end
