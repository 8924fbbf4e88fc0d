-- Spec files: busted's words plus those of the domain. Run by core/vm/spec.c in a state of its own, with the standard library.
--
--   aggregate("bill", "bill-7"):given { events }:when { commands }:expect { events }   or :rejects "code"   or :fails "pattern"
--   projection("outstanding_invoices"):given { events }:expect { ["bill-7"] = { … } }  or :fails "pattern"
--
-- at("2026-01-01", Event { … }) says when an event happened (or a command is decided), on("bill-8", Event { … }) to which aggregate.
local paths, scripts, output, filter, sandbox = ...
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

local function message_lines(messages)
  local lines = {}
  for _, message in ipairs(messages) do put_value(lines, "", message.name .. " ", core.decode(message.data), "") end
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
  if not result.code then
    fail("expected a failure like '%s', but it went well:\n%s", pattern, table.concat(to_lines(result.items), "\n"))
  end
  if not result.text:find(pattern) and not result.text:find(pattern, 1, true) then
    fail("expected a failure like '%s', got %s: %s", pattern, result.code, result.text)
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
  local result = run_aggregate(self)
  if result.code == "rejected" then fail("rejected with '%s': %s", result.reason, result.text) end
  if result.code then fail("%s: %s", result.code, result.text) end
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
  local result = run_aggregate(self)
  if not result.code then
    fail("expected to be rejected with '%s', but it gave\n%s", code, table.concat(message_lines(result.items), "\n"))
  end
  if result.code ~= "rejected" then fail("expected to be rejected with '%s', got %s: %s", code, result.code, result.text) end
  if result.reason ~= code then
    fail("expected to be rejected with '%s', was rejected with '%s': %s", code, result.reason, result.text)
  end
  return self
end

function aggregate_scenario:fails(pattern)
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
  local result = run_projection(self)
  if result.code then fail("%s: %s", result.code, result.text) end
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
  expect_failure(run_projection(self), document_lines, pattern)
  return self
end

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
    return setmetatable({ name = find("aggregate", context, name), short_name = name:match "[^/]*$",
      id = tostring(id or default_id), events = {}, commands = {} }, aggregate_scenario)
  end
  function words.projection(name)
    return setmetatable({ name = find("projection", context, name), events = {} }, projection_scenario)
  end
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
core.count(passed, failed)
local last = (output == "json" or output == "junit") and io.stderr or io.stdout
io.stdout:flush()
last:write(output == "TAP" and "# " or "", ("%d passed, %d failed\n"):format(passed, failed))
last:flush()
