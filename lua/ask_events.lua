-- ask_events.lua: what can be made of a query or its result: a plot, a file, a projection.
--
-- core/vm/ask_results.c drives it. `host` is what C gives:
--   parts(query)            { filter, stages = { { kind, f, n, down, view }, … }, group } or nil if it is no query; never changed here
--   rows(query)             all its rows as a list; counts(query): of its groups
--   tell(table)             one line of the answer
--   tell_row(value)  tell_rows(query)    rows as lines; how many
--   shown(name, show, becomes)   a metatable: who evaluates calls show(value) instead of showing it, and `it` becomes becomes(value),
--                           nil: stays what it was
--   origin(result)          of groups: the query that they are of, the name of its end, the function of that
--   documents(value)        a list of { key, document } of those of a view, or nil
--   compile(text)           a function of the session, or nil
--   time(text)              a time as events have it, or nil
--   is_list(table)

local host = ...
local events = {}

local BINS = 20
local SOURCES_MAX, SOURCES_SIZE_MAX = 200, 1 << 20 -- of the session, that functions are looked for in

local function complain(format, ...) error(format:format(...), 0) end

-- --- plots ---

local function number_of(value)
  local number = type(value) == "userdata" and tonumber(tostring(value)) or value
  if type(number) ~= "number" or number ~= number or number == math.huge or number == -math.huge then
    complain("plot: numbers are expected, got %s", type(value) == "userdata" and tostring(value) or type(value))
  end
  return number
end

-- "2026", "2026-02", "2026-02-01" and longer times.
local function is_time(key)
  local missing = ({ [4] = "-01-01", [7] = "-01" })[#key] or ""
  return #key + #missing >= 10 and host.time(key .. missing)
end

local function points_of_groups(groups)
  local points, times = {}, true
  for key, value in pairs(groups) do
    if type(key) ~= "string" then complain("plot: an object of numbers is expected") end
    points[#points + 1] = { key, number_of(value) }
    times = times and is_time(key)
  end
  return points, times and #points > 1 and "line" or "bars"
end

local function bins_of(list)
  local low, high, integers = math.huge, -math.huge, true
  for _, value in ipairs(list) do
    local number = number_of(value)
    low, high, integers = math.min(low, number), math.max(high, number), integers and number == math.floor(number)
  end
  if integers and high - low < BINS then return low, 1, math.tointeger(high - low) + 1 end
  if high == low then return low, 1, 1 end
  return low, high / BINS - low / BINS, BINS
end

-- As many bins as there are integers, if those are few; else BINS of the same width.
local function points_of_numbers(list)
  local points = {}
  if #list == 0 then return points, "histogram" end
  local low, width, count = bins_of(list)
  for bin = 1, count do
    local label = width == 1 and ("%.14g"):format(low + bin - 1) or ("%.6g"):format(low + (bin - 1) * width)
    points[bin] = { label, 0 }
  end
  for _, value in ipairs(list) do
    local bin = math.min(count, math.floor((number_of(value) - low) / width) + 1)
    points[bin][2] = points[bin][2] + 1
  end
  return points, "histogram"
end

local function is_number(value) return type(value) == "number" or type(value) == "userdata" and tonumber(tostring(value)) ~= nil end

-- The number that a document is, or the only one in it.
local function number_in(document)
  if type(document) ~= "table" then return number_of(document) end
  local names = {}
  for name, value in pairs(document) do
    if is_number(value) then names[#names + 1] = tostring(name) end
  end
  table.sort(names)
  if #names == 1 then return number_of(document[names[1]]) end
  complain("plot: of a document one number is drawn, and there %s in it: make a list of { label, number } and say plot(list)",
    #names == 0 and "is none" or "are " .. table.concat(names, ", "))
end

-- A list of { label, number } is bars as they are; so are documents by their keys.
local function points_of_list(list)
  local first = list[1]
  if type(first) == "table" and first.key ~= nil and first.document ~= nil then
    local points = {}
    for at, row in ipairs(list) do points[at] = { tostring(row.key), number_in(row.document) } end
    return points, "bars"
  end
  if type(first) ~= "table" or #first ~= 2 then return points_of_numbers(list) end
  local points = {}
  for at, pair in ipairs(list) do
    if type(pair) ~= "table" or pair[1] == nil then complain("plot: pairs of a label and a number are expected") end
    points[at] = { tostring(pair[1]), number_of(pair[2]) }
  end
  return points, "bars"
end

local plot_meta = host.shown("plot", function(plot)
  host.tell { plot = { kind = plot.kind, title = plot.title, points = plot.points } }
end, function(plot) return plot.of end)

-- QUERY:plot(title), RESULT:plot(title), DOCUMENTS:plot(title); plot(table, title)
function events.plot(value, title)
  local parts, of = host.parts(value), value
  if title ~= nil and type(title) ~= "string" then complain("plot: the title is a text") end
  if parts then value = parts.group and host.counts(value) or host.rows(value) end
  value = host.documents(value) or value
  if type(value) ~= "table" then complain("plot: a query, what it gave, documents of a view or a table is expected") end
  local points, kind
  if host.is_list(value) then points, kind = points_of_list(value) else points, kind = points_of_groups(value) end
  return setmetatable({ kind = kind, title = title or "", points = host.list(points), of = of }, plot_meta)
end

-- --- files ---

-- { key, value } of each group.
local function tell_groups(groups)
  local count = 0
  for key, value in pairs(groups) do
    host.tell_row { key = key, value = value }
    count = count + 1
  end
  return count
end

local function tell_list(list)
  for _, value in ipairs(list) do host.tell_row(value) end
  return #list
end

local save_meta = host.shown("file to be saved", function(save)
  host.tell { save = { file = save.file } }
  local count
  local parts, documents = host.parts(save.rows), host.documents(save.rows)
  if parts and parts.group then
    count = tell_groups(host.counts(save.rows))
  elseif parts then
    count = host.tell_rows(save.rows)
  elseif documents then
    count = tell_list(documents)
  elseif host.is_list(save.rows) then
    count = tell_list(save.rows)
  else
    count = tell_groups(save.rows)
  end
  host.tell { saved = true, rows = count }
end, function(save) return save.rows end)

-- QUERY:save "file.csv", RESULT:save "file.ndjson", DOCUMENTS:save …; save(table, "file.csv"): written by who asked, never here.
function events.save(value, file)
  if type(file) ~= "string" or not (file:find "[^/]%.csv$" or file:find "[^/]%.ndjson$") then
    complain("save: the name of a file is expected that ends in .csv or .ndjson")
  end
  if not host.parts(value) and type(value) ~= "table" and not host.documents(value) then
    complain "save: a query, what it gave, documents of a view or a table is expected"
  end
  return setmetatable({ file = file, rows = value }, save_meta)
end

events.result_meta = { __index = { plot = events.plot, save = events.save }, __metatable = false, __name = "result" }

-- --- the text of functions ---

local sources, sources_size = {}, 0 -- newest last

function events.remember(source)
  if #source > SOURCES_SIZE_MAX then return end
  sources[#sources + 1] = source
  sources_size = sources_size + #source
  while #sources > SOURCES_MAX or sources_size > SOURCES_SIZE_MAX do
    sources_size = sources_size - #table.remove(sources, 1)
  end
end

-- Where the text or comment that begins at `at` ends, or nil if none begins there.
local function end_of_text(source, at)
  local long = source:match("^%[(=*)%[", at)
  if long then return select(2, source:find("]" .. long .. "]", at, true)) or #source end
  local quote = source:match("^[\"']", at)
  if not quote then return nil end
  while at < #source do
    at = at + 1
    local c = source:sub(at, at)
    if c == "\\" then at = at + 1 elseif c == quote then return at end
  end
  return #source
end

local function end_of_comment(source, at)
  if source:sub(at, at + 1) ~= "--" then return nil end
  if source:find("^%[=*%[", at + 2) then return end_of_text(source, at + 2) end
  return (source:find("\n", at, true) or #source + 1) - 1
end

local OPENS = { ["function"] = true, ["do"] = true, ["if"] = true, ["repeat"] = true }

-- Calls each(text) with every function … end of the source, the inner ones first.
local function each_function(source, each)
  local at, open = 1, {}
  while at <= #source do
    local skipped = end_of_comment(source, at) or end_of_text(source, at)
    local word = not skipped and source:match("^[%a_][%w_]*", at)
    if OPENS[word] then
      open[#open + 1] = { word = word, at = at }
    elseif (word == "end" or word == "until") and #open > 0 then
      local opened = table.remove(open)
      if opened.word == "function" then each(source:sub(opened.at, at + 2)) end
    end
    if word then at = at + #word else at = (skipped or at) + 1 end
  end
end

-- Which part of a source a function was made of: the one that compiles to the same. So one that needs a local around it has none.
local function text_of(f)
  local wanted, found = string.dump(f, true), nil
  for at = #sources, 1, -1 do
    each_function(sources[at], function(text)
      text = text:gsub("^function%s+[%w_%.:]+", "function")
      local made = not found and host.compile(text)
      if made and string.dump(made, true) == wanted then found = text end
    end)
    if found then return found end
  end
end

-- --- projections ---

local WHERE, MAP = 0, 1 -- as in seek_program.h
local ENDS = {
  count = { field = "count", step = "view.count = view.count + 1", initial = "count = 0" },
  sum = { field = "sum", step = "view.sum = view.sum + value", initial = "sum = 0" },
}

local function refuse(why) complain("projection_from: %s", why) end

local ENVELOPE = { actor = true, aggregate = true, at = true, causation_id = true, command_id = true, context = true, correlation_id = true,
  deploy = true, id = true, position = true, recorded = true, stream = true, tenant = true, type = true, type_version = true,
  version = true }
local OF_AT = { day = 10, month = 7, year = 4 }

local function path_text(path)
  if ENVELOPE[path] or path == "data" then return "row." .. path end
  if OF_AT[path] then return ("row.at:sub(1, %d)"):format(OF_AT[path]) end
  local text = "row.data"
  for name in path:gsub("^data%.", ""):gmatch "[^.]+" do text = text .. ("[%q]"):format(name) end
  return text
end

-- A function or path as an expression of `row`; functions become locals of the file.
local function expression(f, name, locals)
  if type(f) == "string" then return path_text(f) end
  local text = text_of(f)
  if not text then
    refuse(("the function of :%s cannot be taken over: it uses a local from outside, or its text is not of this session"):format(name))
  end
  locals[#locals + 1] = ("local function %s%s"):format(name, text:gsub("^function%s*", "", 1))
  return name .. "(row)"
end

-- The conditions that a row must meet, as lines of a function that returns nil where it does not.
local function conditions(parts, locals)
  local lines = {}
  for at, stage in ipairs(parts.stages) do
    if stage.kind ~= WHERE then refuse(stage.kind == MAP and ":map cannot be kept up to date: put it into the functions behind it" or
      "only :where and :group can be kept up to date, not :limit, :skip, :sort or :join") end
    lines[at] = ("  if not (%s) then return nil end"):format(expression(stage.f, "where_" .. at, locals))
  end
  return lines
end

local REFUSED = { "from", "upto", "position", "last", "deploy", "actor", "correlation", "tenant" }

-- "billing", "BillClosed" of each type.
local function types_of(filter)
  for _, name in ipairs(REFUSED) do
    if filter[name] then refuse(("a projection sees all events of its types: the filter %s has no place in it"):format(name)) end
  end
  if not filter.types then refuse "a projection names its events: say type = … or types = { … }" end
  local types = {}
  for at, type in ipairs(filter.types) do types[at] = type:match "([^.]+)$" end
  return types
end

local function more_conditions(filter)
  local lines = {}
  for _, name in ipairs { "context", "aggregate", "stream" } do
    local is_whole = name == "aggregate" and filter.aggregate and filter.aggregate:find "/"
    local field = is_whole and 'row.context .. "/" .. row.aggregate' or "row." .. name
    if filter[name] then lines[#lines + 1] = ("  if %s ~= %q then return nil end"):format(field, filter[name]) end
  end
  for _, bound in ipairs { { "since", "<" }, { "until", ">" } } do
    local name, sign = bound[1], bound[2]
    local time = filter[name] and (host.time(filter[name]) or refuse(("%s: %s is no time"):format(name, filter[name])))
    if time then lines[#lines + 1] = ("  if row.at %s %q then return nil end"):format(sign, time) end
  end
  return lines
end

local ROW = [[
-- An event as the query had it.
local function row_of(e, m)
  return { type = m.type, at = m.at, recorded = m.recorded, id = m.id, stream = m.stream, context = m.context, aggregate = m.aggregate,
    tenant = m.tenant, position = m.position, version = m.version, type_version = m.type_version, deploy = m.deploy, actor = m.actor,
    command_id = m.command_id, correlation_id = m.correlation_id, causation_id = m.causation_id, data = e }
end
]]

local file_meta = host.shown("file", function(file) host.tell { file = { name = file.name, text = file.text } } end,
  function() return nil end)

-- The query of what its :count() or :sum(f) gave, and f.
local function query_of(result)
  local query, ending, f = host.origin(result)
  if query and ending ~= "count" and ending ~= "sum" then
    refuse((":%s(…) cannot be kept up to date: only :count() and :sum(…)"):format(ending))
  end
  return query, f
end

-- projection_from("name", query, sum): a projection that keeps, by the query's group, the number of its rows, and the sum of a field if
-- one is named. In place of the query what its :count() or :sum(…) gave.
function events.projection_from(name, query, sum)
  if type(name) ~= "string" or not name:find "^[a-z][a-z0-9_]*$" then refuse "the name is one like closed_by_month" end
  if not host.parts(query) then
    local of, f = query_of(query)
    if of then query, sum = of, sum == nil and f or sum end
  end
  local parts = host.parts(query)
  if not parts then refuse "a query is expected, such as events { type = \"…\" }:group(\"month\")" end
  if not parts.group then refuse "a projection has a document for each key: say :group(…)" end
  local locals, types = {}, types_of(parts.filter)
  local lines = more_conditions(parts.filter)
  for _, line in ipairs(conditions(parts, locals)) do lines[#lines + 1] = line end
  local key = expression(parts.group, "group", locals)
  local value = sum ~= nil and expression(sum, "value", locals)
  local out = { ("-- %s.lua: made of a query of the REPL."):format(name), "", ROW }
  for _, text in ipairs(locals) do out[#out + 1] = text .. "\n" end
  out[#out + 1] = "local function key_of(e, m)"
  out[#out + 1] = "  local row = row_of(e, m)"
  for _, line in ipairs(lines) do out[#out + 1] = line end
  out[#out + 1] = ("  local key = %s\n  return key ~= nil and tostring(key) or nil\nend\n"):format(key)
  out[#out + 1] = ("local %s = projection %q { key = key_of, initial = { %s%s } }\n"):format(name, name, ENDS.count.initial,
    value and ", " .. ENDS.sum.initial or "")
  out[#out + 1] = ("local function add(view%s)"):format(value and ", e, m" or "")
  if value then
    out[#out + 1] = "  local row = row_of(e, m)"
    out[#out + 1] = ("  local value = %s\n  if value ~= nil then view.sum = view.sum + value end"):format(value)
  end
  out[#out + 1] = ("  %s\nend\n"):format(ENDS.count.step)
  for _, type in ipairs(types) do out[#out + 1] = ("%s.when.%s = add"):format(name, type) end
  return setmetatable({ name = name .. ".lua", text = table.concat(out, "\n") .. "\n" }, file_meta)
end

return events
