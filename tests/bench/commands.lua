-- wrk: one command to create a bill, each to a stream of its own and with an id of its own. Arguments: a prefix no run had before; how many
-- milliseconds a connection rests before each command (none: as fast as it can).
-- Ends with one line of JSON: requests, seconds, refused, p50_ms, p99_ms.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  prefix, sent = args[1] .. "-" .. number .. "-", 0
  local pause = tonumber(args[2] or 0)
  if pause > 0 then delay = function() return math.random(0, 2 * pause) end end -- the mean is pause
  headers = { ["Content-Type"] = "application/json" }
end

local body = '{"type":"CreateBill","data":{"customer":"acme","start_date":"2026-01-01T00:00:00.000Z"}}'

function request()
  sent = sent + 1
  local name = prefix .. sent
  headers["Idempotency-Key"] = name
  return wrk.format("POST", "/v1/main/billing/bill/" .. name, headers, body)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%f,"refused":%d,"broken":%d,"p50_ms":%f,"p99_ms":%f}\n', summary.requests,
    summary.duration / 1e6, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
