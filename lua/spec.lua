-- Spec files: busted's words plus those of the domain. Run by core/vm/spec.c in a state of its own, with the standard library.
--
--   aggregate("bill", "bill-7"):given { events }:when { commands }:expect { events }   or :rejects "code"   or :fails "pattern"
--   projection("outstanding_invoices"):given { events }:expect { ["bill-7"] = { … } }  or :fails "pattern"
--   receptor("replication"):given { events }:expect { sends }                          or :fails "pattern"
--   service("mail"):when { Command { … } }:expect { events and sends }                 or :rejects "code", :retries "10s", :fails "pattern"
--   task("invoice_expiration"):at "2026-03-01":expect { events and sends }             or :retries "10s", :fails "pattern"
--
-- Sends are written as scripts write them: send.user("7", Command { … }, { after = "30d", key = "close" }), cancel.user("7", "close"),
-- and of a service or task events and sends each come in their order, whatever is between. What a service or task finds is given first:
--
--   :given_view("outstanding_invoices", { ["i-1"] = { customer = "acme", due_on = "2026-02-01T00:00:00Z" } })
--   :at "2026-03-01"                       the clock, and what a task's run(now) gets
--   :env { MAIL_KEY = "x" }
--   :http { ["POST https://mail.example/send"] = { status = 202, json = { … } } }   or an answer { error = "timed out" }, or a function
--       that is given the request { method, url, body, headers, json() } and returns the answer (it may assert what it got)
--
-- at("2026-01-01", Event { … }) says when an event happened (or a command is decided), on("bill-8", Event { … }) to which aggregate.
-- With record_path, what each `it` says is written there: spec_record.lua.
local paths, scripts, output, filter, sandbox, record_path = ...
local core = require "lore.core"

local default_at <const> = "2026-01-01T00:00:00.000Z"
local default_id <const> = "1"

-- --- texts ------------------------------------------------------------------------------------------------------------------------

local function sorted_keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

local function field_name(key)
  return key:match "^[%a_][%w_]*$" and key or ("[%q]"):format(key)
end

-- Appends the lines of a plain value to lines, the first one behind prefix.
local function put_value(lines, indent, prefix, value, suffix)
  if type(value) ~= "table" then
    local text = type(value) == "string" and ("%q"):format(value):gsub("\\\n", "\\n")
      or type(value) == "userdata" and ('decimal "%s"'):format(value) or tostring(value)
    lines[#lines + 1] = indent .. prefix .. text .. suffix
    return
  end
  if next(value) == nil then
    lines[#lines + 1] = indent .. prefix .. (debug.getmetatable(value) and "list {}" or "{}") .. suffix
    return
  end
  lines[#lines + 1] = indent .. prefix .. "{"
  if #value > 0 then
    for _, item in ipairs(value) do put_value(lines, indent .. "  ", "", item, ",") end
  else
    for _, key in ipairs(sorted_keys(value)) do
      put_value(lines, indent .. "  ", field_name(key) .. " = ", value[key], ",")
    end
  end
  lines[#lines + 1] = indent .. "}" .. suffix
end

local function duration_text(ms) return tostring(sandbox.seconds(ms / 1000)) end

-- What stands in front of the data of an event, a send or a cancel.
local function head_of(message)
  if not message.to then return message.name .. " " end
  local parts = {}
  if not message.service then parts[1] = ("%q"):format(message.id) end
  if message.cancel then
    parts[#parts + 1] = ("%q"):format(message.key)
    return ("cancel.%s(%s)"):format(message.to, table.concat(parts, ", "))
  end
  local options = {}
  if message.after_ms then options[1] = ("after = %q"):format(duration_text(message.after_ms)) end
  if message.due_ms and not message.after_ms then options[1] = ("at = %q"):format(core.time_text(message.due_ms)) end
  if message.key ~= "" then options[#options + 1] = ("key = %q"):format(message.key) end
  if #options > 0 then parts[#parts + 1] = "{ " .. table.concat(options, ", ") .. " }" end
  return ("send.%s(%s) %s "):format(message.to, table.concat(parts, ", "), message.name)
end

local function message_lines(messages)
  local lines = {}
  for _, message in ipairs(messages) do
    if message.cancel then
      lines[#lines + 1] = head_of(message)
    else
      put_value(lines, "", head_of(message), core.decode(message.data), "")
    end
  end
  if #lines == 0 then lines[1] = "(none)" end
  return lines
end

local function document_lines(documents)
  local lines = {}
  for _, item in ipairs(documents) do put_value(lines, "", ("[%q] = "):format(item.name), core.decode(item.data), "") end
  if #lines == 0 then lines[1] = "(none)" end
  return lines
end

local function result_text(result, to_lines)
  if result.retry_ms then return "retries in " .. duration_text(result.retry_ms) end
  if result.code then return ("%s %s: %s"):format(result.code, result.reason, result.text) end
  return table.concat(to_lines(result.items), "\n")
end

-- Longest common subsequence, so that one line more does not mark all that follow.
local function align(left, right)
  local lengths = {}
  for i = #left + 1, 1, -1 do
    lengths[i] = {}
    for j = #right + 1, 1, -1 do
      if i > #left or j > #right then
        lengths[i][j] = 0
      elseif left[i] == right[j] then
        lengths[i][j] = lengths[i + 1][j + 1] + 1
      else
        lengths[i][j] = math.max(lengths[i + 1][j], lengths[i][j + 1])
      end
    end
  end
  local rows, i, j = {}, 1, 1
  while i <= #left or j <= #right do
    if i <= #left and j <= #right and left[i] == right[j] then
      rows[#rows + 1] = { left[i], right[j], " " }
      i, j = i + 1, j + 1
    elseif i <= #left and j <= #right and lengths[i + 1][j + 1] == lengths[i][j] then
      rows[#rows + 1] = { left[i], right[j], "*" } -- a changed line: side by side
      i, j = i + 1, j + 1
    elseif j > #right or (i <= #left and lengths[i + 1][j] >= lengths[i][j + 1]) then
      rows[#rows + 1] = { left[i], "", "*" }
      i = i + 1
    else
      rows[#rows + 1] = { "", right[j], "*" }
      j = j + 1
    end
  end
  return rows
end

local function width_of(text) return utf8.len(text) or #text end

local function side_by_side(expected, actual)
  local rows, width = align(expected, actual), #"expected"
  for _, row in ipairs(rows) do width = math.max(width, width_of(row[1])) end
  local lines = { ("  %s%s | %s"):format("expected", (" "):rep(width - #"expected"), "actual") }
  for _, row in ipairs(rows) do
    lines[#lines + 1] = ("%s %s%s | %s"):format(row[3], row[1], (" "):rep(width - width_of(row[1])), row[2])
  end
  return (table.concat(lines, "\n"):gsub(" +\n", "\n"))
end

-- --- scenarios --------------------------------------------------------------------------------------------------------------------

local busted -- set when it runs
local message_meta = { __name = "message" }
message_meta.__tostring = function(message) return message.name end

-- "path:line: " of the line of the spec file that is running.
local function where()
  for level = 3, 40 do
    local info = debug.getinfo(level, "Sl")
    if not info then break end
    if info.what ~= "C" and info.source ~= "@lua/spec.lua" then return ("%s:%d: "):format(info.source:sub(2), info.currentline) end
  end
  return ""
end

-- An expectation that is not met.
local function fail(text, ...) return busted.fail(where() .. text:format(...), 0) end

-- A spec that makes no sense.
local function wrong(text, ...) return error(where() .. text:format(...), 0) end

local function is_message(value) return getmetatable(value) == message_meta end

local function constructor(context, name, is_event)
  return function(fields)
    if type(fields) ~= "table" then wrong("write %s { … }", name) end
    local done, data, version = pcall(function() return core.check(context, name, core.encode(fields, name)) end)
    if not done then wrong("%s", tostring(data)) end
    return setmetatable({ context = context, name = name, is_event = is_event, data = data, version = version },
      message_meta)
  end
end

local function with(message, field, value)
  if not is_message(message) then wrong("expected a message such as Name { … }") end
  local copy = setmetatable({}, message_meta)
  for key, old in pairs(message) do copy[key] = old end
  copy[field] = value
  return copy
end

local function at(text, message)
  local done, ms = pcall(core.time, tostring(text))
  if not done then wrong("at: %s is no time", tostring(text)) end
  return with(message, "at_ms", ms)
end

local function on(id, message) return with(message, "id", tostring(id)) end

-- Checks what is given to a step and completes what the messages leave open.
local function complete(list, is_event, fill)
  if is_message(list) then list = { list } end
  local messages = {}
  for index, message in ipairs(type(list) == "table" and list or {}) do
    if not is_message(message) then wrong("item %d is no message such as Name { … }", index) end
    if message.is_event ~= is_event then
      wrong("%s is %s", message.name, is_event and "a command: events are given" or "an event: commands are run")
    end
    local copy = {}
    for key, value in pairs(message) do copy[key] = value end
    copy.at_ms = copy.at_ms or core.time(default_at)
    fill(copy)
    messages[index] = copy
  end
  return messages
end

local record -- set when it runs and is to be recorded

-- What is to come of a scenario, before it runs.
local function note(scenario, how, what)
  if record then record.note(scenario, how, what) end
end

-- In a fresh domain, in the used one, and there again: the three must agree.
local function run(scenario, to_lines, runner, ...)
  local fresh = runner(true, ...)
  local expected = result_text(fresh, to_lines)
  for time = 1, 2 do
    local actual = result_text(runner(false, ...), to_lines)
    if actual ~= expected then
      local function lines(text)
        local all = {}
        for line in (text .. "\n"):gmatch "(.-)\n" do all[#all + 1] = line end
        return all
      end
      fail("something outlived a call: %s gives another result in a state that was used before%s (fresh | used)\n%s",
        scenario.name, time == 2 and " for the same" or "", side_by_side(lines(expected), lines(actual)))
    end
  end
  return fresh
end

local function expect_failure(result, to_lines, pattern)
  if result.retry_ms then fail("expected a failure like '%s', but it retries in %s", pattern, duration_text(result.retry_ms)) end
  if not result.code then
    fail("expected a failure like '%s', but it went well:\n%s", pattern, table.concat(to_lines(result.items), "\n"))
  end
  if not result.text:find(pattern) and not result.text:find(pattern, 1, true) then
    fail("expected a failure like '%s', got %s: %s", pattern, result.code, result.text)
  end
end

-- The failure of what should have gone well.
local function expect_well(result)
  if result.code == "rejected" then fail("rejected with '%s': %s", result.reason, result.text) end
  if result.code then fail("%s: %s", result.code, result.text) end
  if result.retry_ms then fail("it retries in %s", duration_text(result.retry_ms)) end
end

local function expect_rejection(result, code)
  if result.retry_ms then fail("expected to be rejected with '%s', but it retries in %s", code, duration_text(result.retry_ms)) end
  if not result.code then
    fail("expected to be rejected with '%s', but it gave\n%s", code, table.concat(message_lines(result.items), "\n"))
  end
  if result.code ~= "rejected" then fail("expected to be rejected with '%s', got %s: %s", code, result.code, result.text) end
  if result.reason ~= code then
    fail("expected to be rejected with '%s', was rejected with '%s': %s", code, result.reason, result.text)
  end
end

local aggregate_scenario = {}
aggregate_scenario.__index = aggregate_scenario

function aggregate_scenario:given(events)
  self.events = complete(events, true, function(event)
    event.id, event.aggregate = event.id or self.id, self.short_name
  end)
  return self
end

function aggregate_scenario:when(commands)
  self.commands = complete(commands, false, function(command)
    command.id, command.aggregate = command.id or self.id, self.short_name
  end)
  return self
end

local function run_aggregate(self)
  if #self.commands == 0 then wrong("nothing to run: write :when { Command { … } }") end
  return run(self, message_lines, core.run_aggregate, self.name, self.events, self.commands)
end

function aggregate_scenario:expect(events)
  local expected = complete(events, true, function() end)
  note(self, "expect", expected)
  local result = run_aggregate(self)
  expect_well(result)
  local same = #expected == #result.items
  for index, event in ipairs(expected) do
    local actual = result.items[index]
    same = same and actual.name == event.name and actual.data == event.data
  end
  if not same then
    fail("not the expected events\n%s", side_by_side(message_lines(expected), message_lines(result.items)))
  end
  return self
end

function aggregate_scenario:rejects(code)
  note(self, "rejects", code)
  expect_rejection(run_aggregate(self), code)
  return self
end

function aggregate_scenario:fails(pattern)
  note(self, "fails", pattern)
  expect_failure(run_aggregate(self), message_lines, pattern)
  return self
end

local projection_scenario = {}
projection_scenario.__index = projection_scenario

function projection_scenario:given(events)
  self.events = complete(events, true, function(event)
    event.id = event.id or default_id
    event.aggregate = core.home(event.context, event.name)
  end)
  return self
end

local function run_projection(self) return run(self, document_lines, core.run_projection, self.name, self.events) end

function projection_scenario:expect(documents)
  local expected = {}
  for key, document in pairs(documents) do
    local done, data = pcall(core.encode, document, "document " .. tostring(key))
    if not done then wrong("%s", tostring(data)) end
    expected[#expected + 1] = { name = tostring(key), data = data }
  end
  table.sort(expected, function(a, b) return a.name < b.name end)
  note(self, "documents", expected)
  local result = run_projection(self)
  expect_well(result)
  local same = #expected == #result.items
  for index, document in ipairs(expected) do
    local actual = result.items[index]
    same = same and actual.name == document.name and actual.data == document.data
  end
  if not same then
    fail("not the expected documents\n%s", side_by_side(document_lines(expected), document_lines(result.items)))
  end
  return self
end

function projection_scenario:fails(pattern)
  note(self, "fails", pattern)
  expect_failure(run_projection(self), document_lines, pattern)
  return self
end

-- --- receptors, services, tasks ---------------------------------------------------------------------------------------------------

local function is_send(value) return getmetatable(value) == message_meta and value.to ~= nil end

local function send_options(send, options, word)
  if type(options) ~= "table" then wrong("the options of %s are a table such as { after = \"30d\" }", word) end
  for option, value in pairs(options) do
    if option == "after" then
      send.after_ms = core.duration(value) or wrong("%s: after is a duration such as \"30d\"", word)
    elseif option == "at" then
      local done, ms = pcall(core.time, tostring(value))
      send.due_ms = done and ms or wrong("%s: at is a time, got %s", word, tostring(value))
    elseif option == "key" then
      send.key = tostring(value)
    else
      wrong("%s has no option %s, only after, at and key", word, tostring(option))
    end
  end
end

-- send.NAME and cancel.NAME of a context, as expectations.
local function sending_word(context, word)
  local is_service = {}
  for _, kind in ipairs { "aggregate", "service" } do
    for _, name in ipairs(core.names(kind, context)) do is_service[name] = kind == "service" end
  end
  return setmetatable({}, { __index = function(_, name)
    if is_service[name] == nil then wrong("%s.%s: there is no aggregate or service %s in %s", word, name, name, context) end
    return function(...)
      local given, send = { ... }, { to = name, service = is_service[name], id = "", key = "", data = "", name = "" }
      if not send.service then send.id = tostring(table.remove(given, 1)) end
      if word == "cancel" then
        send.cancel, send.key = true, tostring(given[1])
      elseif not is_message(given[1]) or given[1].is_event then
        wrong("%s.%s takes a command such as Name { … }", word, name)
      else
        send.name, send.data = given[1].name, given[1].data
        if given[2] ~= nil then send_options(send, given[2], word .. "." .. name) end
      end
      return setmetatable(send, message_meta)
    end
  end })
end

-- The actual sends, each told in the way that the expectation beside it uses: after or at.
local function like_expected(expected, items)
  for index, item in ipairs(items) do
    if item.due_ms and expected[index] and expected[index].due_ms then item.after_ms = nil end
  end
end

-- Events first, then sends: what came between them does not count.
local function split(list)
  local messages, sends = {}, {}
  for index, item in ipairs(list) do
    if not is_message(item) then wrong("item %d is neither an event nor a send", index) end
    if not is_send(item) and not item.is_event then wrong("%s is a command: send it to somebody", item.name) end
    table.insert(is_send(item) and sends or messages, item)
  end
  return table.move(sends, 1, #sends, #messages + 1, messages)
end

local function expect_output(scenario, expected, runner)
  if is_message(expected) then expected = { expected } end
  expected = split(expected)
  note(scenario, "expect", expected)
  local result = runner(scenario)
  expect_well(result)
  like_expected(expected, result.items)
  local same = #expected == #result.items
  for index, item in ipairs(expected) do
    local actual = result.items[index]
    same = same and head_of(actual) == head_of(item) and actual.data == item.data
  end
  if not same then fail("not what is expected\n%s", side_by_side(message_lines(expected), message_lines(result.items))) end
end

local receptor_scenario = {}
receptor_scenario.__index = receptor_scenario

receptor_scenario.given = projection_scenario.given

local function run_receptor(self) return run(self, message_lines, core.run_receptor, self.name, self.events) end

function receptor_scenario:expect(sends)
  expect_output(self, sends, run_receptor)
  return self
end

function receptor_scenario:fails(pattern)
  note(self, "fails", pattern)
  expect_failure(run_receptor(self), message_lines, pattern)
  return self
end

-- What services and tasks have in common: the world, and outcomes. Each has execute(), which runs it.
local world_scenario = {}

local function new_world() return { views = {}, env = {}, now_ms = core.time(default_at) } end

function world_scenario:given_view(name, documents)
  local full = self.find_view(name)
  for key, document in pairs(documents) do
    local done, data = pcall(core.encode, document, "document " .. tostring(key))
    if not done then wrong("%s", tostring(data)) end
    table.insert(self.world.views, { view = full, key = tostring(key), data = data })
  end
  table.sort(self.world.views, function(a, b) return a.view .. "\0" .. a.key < b.view .. "\0" .. b.key end)
  return self
end

function world_scenario:at(text)
  local done, ms = pcall(core.time, tostring(text))
  self.world.now_ms = done and ms or wrong("at: %s is no time", tostring(text))
  return self
end

function world_scenario:env(secrets)
  self.world.env = secrets
  return self
end

local function known_requests(answers)
  local known = {}
  for name in pairs(answers) do known[#known + 1] = tostring(name) end
  table.sort(known)
  return #known > 0 and table.concat(known, ", ") or "none"
end

-- An answer of a spec as C reads it: json is written out, all is text.
local function complete_answer(answer)
  if type(answer) ~= "table" then wrong("http: an answer is a table such as { status = 202 }, got %s", type(answer)) end
  local headers = {}
  for name, value in pairs(answer.headers or {}) do headers[tostring(name)] = tostring(value) end
  local body = answer.body
  if answer.json ~= nil then body = core.to_json(core.encode(answer.json, "json")) end
  return { status = answer.status or 200, headers = headers, body = body and tostring(body), error = answer.error }
end

-- answers: a table by "METHOD URL" of answers or functions, or one function for all.
function world_scenario:http(answers)
  self.world.answers = answers
  self.world.http = function(request)
    request.json = function() return core.decode(core.from_json(request.body)) end
    local name = request.method .. " " .. request.url
    local answer = answers
    if type(answers) == "table" then answer = answers[name] end
    if answer == nil then fail("http: the spec has no answer to %s, only to: %s", name, known_requests(answers)) end
    if type(answer) == "function" then answer = answer(request) end
    return complete_answer(answer)
  end
  return self
end

local function run_world(self)
  if not self.world.http then self:http {} end
  return self:execute()
end

function world_scenario:expect(wanted)
  expect_output(self, wanted, run_world)
  return self
end

function world_scenario:fails(pattern)
  note(self, "fails", pattern)
  expect_failure(run_world(self), message_lines, pattern)
  return self
end

function world_scenario:retries(duration)
  note(self, "retries", duration)
  local result, ms = run_world(self), core.duration(duration) or wrong("retries: %s is no duration", tostring(duration))
  if result.code then fail("expected to retry in %s, got %s: %s", duration, result.code, result.text) end
  if not result.retry_ms then
    fail("expected to retry in %s, but it gave\n%s", duration, table.concat(message_lines(result.items), "\n"))
  end
  if result.retry_ms ~= ms then fail("expected to retry in %s, it retries in %s", duration, duration_text(result.retry_ms)) end
  return self
end

local service_scenario = setmetatable({}, { __index = world_scenario })
service_scenario.__index = service_scenario

function service_scenario:when(commands)
  self.commands = complete(commands, false, function(command)
    command.id, command.aggregate = self.short_name, self.short_name
  end)
  return self
end

function service_scenario:execute()
  if #self.commands ~= 1 then wrong("a service is run for one command: write :when { Command { … } }") end
  self.commands[1].at_ms = self.world.now_ms
  return run(self, message_lines, core.run_service, self.name, self.commands, self.world)
end

function service_scenario:rejects(code)
  note(self, "rejects", code)
  expect_rejection(run_world(self), code)
  return self
end

local task_scenario = setmetatable({}, { __index = world_scenario })
task_scenario.__index = task_scenario

function task_scenario:execute() return run(self, message_lines, core.run_task, self.name, self.world.now_ms, self.world) end

-- --- the words of a spec file -----------------------------------------------------------------------------------------------------

local function find(kind, context, name)
  local full = name:find "/" and name or context .. "/" .. name
  local found, nearest = core.find(kind, full)
  if not found then
    wrong("there is no %s %s%s", kind, full, nearest ~= "" and ": did you mean " .. nearest .. "?" or "")
  end
  return full
end

local function words_of(context)
  local words = { at = at, on = on }
  for _, name in ipairs { "decimal", "list", "days", "hours", "minutes", "seconds", "time" } do words[name] = sandbox[name] end
  for _, other in ipairs(core.contexts()) do
    local constructors = {}
    for name, is_event in pairs(core.messages(other)) do constructors[name] = constructor(other, name, is_event) end
    if other == context then
      for name, make in pairs(constructors) do words[name] = make end
    end
    words[other] = words[other] or constructors
  end
  function words.aggregate(name, id)
    return setmetatable({ kind = "aggregate", name = find("aggregate", context, name), short_name = name:match "[^/]*$",
      id = tostring(id or default_id), events = {}, commands = {} }, aggregate_scenario)
  end
  function words.projection(name)
    return setmetatable({ kind = "projection", name = find("projection", context, name), events = {} }, projection_scenario)
  end
  function words.receptor(name)
    return setmetatable({ kind = "receptor", name = find("receptor", context, name), events = {} }, receptor_scenario)
  end
  local function find_view(name) return find("projection", context, name) end
  function words.service(name)
    return setmetatable({ kind = "service", name = find("service", context, name), short_name = name:match "[^/]*$", world = new_world(),
      find_view = find_view, commands = {} }, service_scenario)
  end
  function words.task(name)
    return setmetatable({ kind = "task", name = find("task", context, name), world = new_world(), find_view = find_view }, task_scenario)
  end
  words.send, words.cancel = sending_word(context, "send"), sending_word(context, "cancel")
  return words
end

-- --- the run ----------------------------------------------------------------------------------------------------------------------

local function need(name)
  local found, module = pcall(require, name)
  if not found then
    core.stop("not_found", "busted is needed to run specs and is not there: apt install lua-busted (" ..
      tostring(module):match "[^\n]*" .. ")")
  end
  return module
end

local lfs = need "lfs"

local function gather(path, files)
  local kind = lfs.attributes(path, "mode")
  if kind == "file" then
    files[#files + 1] = path
  elseif kind == "directory" then
    local names = {}
    for name in lfs.dir(path) do
      if name:sub(1, 1) ~= "." then names[#names + 1] = name end
    end
    table.sort(names)
    for _, name in ipairs(names) do
      local inner = path .. "/" .. name
      if lfs.attributes(inner, "mode") == "directory" or name:find "_spec%.lua$" then gather(inner, files) end
    end
  else
    core.stop("not_found", ("no spec file or folder %s"):format(path))
  end
  return files
end

local function find_files()
  if #paths == 0 then
    local folder = scripts:gsub("/+$", ""):match "^(.*/)[^/]*$" or ""
    if scripts:find "^%.*/*$" then folder = scripts:gsub("/*$", "") .. "/../" end
    paths = { folder .. "specs" }
  end
  local files = {}
  for _, path in ipairs(paths) do gather((path:gsub("(.)/+$", "%1")), files) end
  if #files == 0 then core.stop("not_found", ("no *_spec.lua in %s"):format(table.concat(paths, ", "))) end
  return files
end

local function is_context(name)
  for _, context in ipairs(core.contexts()) do
    if context == name then return true end
  end
  return false
end

local function cut_trace(_, info)
  info.traceback = info.traceback:sub(1, (info.traceback:find "\n%s*%[C]"))
  return info
end

-- The words become globals of this file alone: busted gives each file an environment of its own.
local function add_file(path)
  local chunk, problem = loadfile(path)
  if not chunk then
    busted.publish({ "error", "file" }, { descriptor = "file", name = path }, nil, problem, {})
    return
  end
  local context = path:match "([^/]*)/[^/]*$" or ""
  local function run_file()
    if not is_context(context) then
      error(("%s: the folder of a spec is named after its context, and there is no context '%s'"):format(path, context), 0)
    end
    for name, word in pairs(words_of(context)) do _ENV[name] = word end
    debug.setupvalue(chunk, 1, _ENV)
    return chunk()
  end
  busted.executors.file(path, setmetatable({ getTrace = cut_trace }, { __call = run_file }))
end

local files = find_files()
need "pl.path"
arg = arg or { [0] = "lore test" }
busted = need "busted.core"()
need "busted"(busted)

if record_path then
  record = require "lore.spec_record".open(record_path, busted,
    { list = sandbox.list, duration_text = duration_text, sorted_keys = sorted_keys })
end

local passed, failed = 0, 0
busted.subscribe({ "test", "end" }, function(_, _, status)
  if status == "success" then
    passed = passed + 1
  elseif status ~= "pending" then
    failed = failed + 1
  end
  return nil, true
end)
for _, kind in ipairs { "error", "failure" } do
  busted.subscribe({ kind }, function(element)
    if element.descriptor ~= "it" then failed = failed + 1 end
    return nil, true
  end)
end
busted.subscribe({ "error", "output" }, function(element)
  core.stop("usage", ("busted has no output handler %s"):format(tostring(element.name)))
end)

require "busted.modules.output_handler_loader"()(busted, output, { defaultOutput = "plainTerminal", language = "en", arguments = {} })
require "busted.modules.filter_loader"()(busted, { tags = {}, excludeTags = {}, filter = filter and { filter } or {},
  filterOut = {} })
for _, file in ipairs(files) do add_file(file) end
require "busted.execute"(busted)(1, { sort = false, shuffle = false })
busted.publish { "exit" }
if record then record.close() end
core.count(passed, failed)
local last = (output == "json" or output == "junit") and io.stderr or io.stdout
io.stdout:flush()
last:write(output == "TAP" and "# " or "", ("%d passed, %d failed\n"):format(passed, failed))
last:flush()
