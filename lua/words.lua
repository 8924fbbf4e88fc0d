-- words.lua: the words that declare (aggregate, projection, receptor, service, task, contracts, upcast), their options, and the objects
-- that they give: bill.apply.BillCreated = function … end.
--
-- loader.lua calls words.begin with what both share, words.of for each context, and reads what gathered in the context's declarations:
-- { kind, name, context, path, line, configured, apply, execute, when: name -> handler, conflicts, run, and the options }.

local host, modules = ...
local outlive, sorted_keys = modules.outlive, modules.sorted_keys
local tostring = host.text

local words = {}

-- What each kind consists of: tables of handlers by message, single functions, and its options (name -> function(declared, value)).
local KINDS = {
  aggregate = { tables = { "apply", "execute" }, functions = { "conflicts" }, options = {} },
  projection = { tables = { "when" }, functions = {}, options = {} },
  receptor = { tables = { "when" }, functions = {}, options = {} },
  service = { tables = { "when" }, functions = {}, options = {} },
  task = { tables = {}, functions = { "run" }, options = {} },
}
-- These send, or are sent to: each has a stream of its own in its context, so their names are all different.
words.WITH_STREAMS = { "aggregate", "receptor", "service", "task" }
words.KINDS = { "aggregate", "projection", "receptor", "service", "task" }

local INDEXES_MAX, EVERY_MIN_MS = 8, 1000

local shared -- own, files, here, hint, shown, loading (a function: whether files of contexts still load)
local sink   -- what stands for a part that does not exist, so that loading goes on

function words.begin(given)
  shared = given
  sink = setmetatable(outlive.hold {}, { __metatable = false, __newindex = function() end })
  shared.own[sink] = true
end

local function report_here(format, ...)
  if not shared.loading() then error(format:format(...), 0) end
  local path, line = shared.here()
  host.report(path, line, format:format(...))
end

local function only_while_loading(word)
  if not shared.loading() then error(word .. ": only while the files of a context load", 0) end
end

local function article(kind) return kind:find "^[aeiou]" and "an" or "a" end

function words.parameters_of(handler)
  local info = debug.getinfo(handler, "u")
  return info.isvararg and 255 or info.nparams
end

local function described(handler, name, path, line)
  return { name = name, handler = handler, path = path, line = line, defined = debug.getinfo(handler, "S").linedefined,
    parameters = words.parameters_of(handler) }
end

-- --- options ---

local function expect_option(declared, ok, option, expected, value)
  if not ok then
    report_here("%s: option %s: expected %s, got %s", declared.name, option, expected, shared.shown(value))
  end
  return ok
end

local function initial_option(declared, value)
  if not expect_option(declared, type(value) == "table" and #value == 0, "initial", "a table of fields",
    type(value) == "table" and "a list" or value) then
    return
  end
  local ok, encoded = pcall(host.encode, value, "initial")
  if not ok then
    report_here("%s: %s", declared.name, (tostring(encoded):gsub("^[^\n]-:%d+: ", "", 1))) -- its place is put in front again
    return
  end
  declared.initial, declared.initial_value = encoded, value
end

KINDS.aggregate.options.initial = initial_option
KINDS.projection.options.initial = initial_option

function KINDS.projection.options.key(declared, value)
  if expect_option(declared, type(value) == "function" or value == false, "key", "a function, or false for free style", value) then
    declared.key = value
  end
end

function KINDS.projection.options.index(declared, value)
  if not expect_option(declared, type(value) == "table", "index", "a list of field names", value) then return end
  local list, seen = {}, {}
  for position, name in pairs(value) do
    if math.type(position) ~= "integer" or type(name) ~= "string" or not host.is_name(name) then
      report_here("%s: option index: expected a list of field names, got %s", declared.name,
        math.type(position) == "integer" and shared.shown(name) or shared.shown(position))
      return
    end
    if seen[name] then report_here("%s: option index: %s is there twice", declared.name, name) end
    seen[name] = true
    list[#list + 1] = name
  end
  if #list > INDEXES_MAX then
    report_here("%s: option index: at most %d indexes, got %d", declared.name, INDEXES_MAX, #list)
  end
  table.sort(list)
  declared.index = list
end

function KINDS.receptor.options.since(declared, value)
  if expect_option(declared, value == "start" or value == "end", "since", '"start" or "end"', value) then declared.since = value end
end

local TASK = KINDS.task.options

function TASK.every(declared, value)
  local ms = host.duration(value)
  if not expect_option(declared, ms, "every", 'a duration such as "15m"', value) then return end
  if ms < EVERY_MIN_MS then
    report_here("%s: option every: at least 1s", declared.name)
  else
    declared.every = ms
  end
end

function TASK.cron(declared, value)
  if not expect_option(declared, type(value) == "string", "cron", 'a text of five fields such as "0 3 * * *"', value) then return end
  local problem = host.cron_problem(value)
  if problem then report_here("%s: option cron: %s", declared.name, problem) else declared.cron = value end
end

function TASK.zone(declared, value)
  if not expect_option(declared, type(value) == "string", "zone", 'a time zone such as "Europe/Berlin"', value) then return end
  local problem = host.zone_problem(value)
  if problem then report_here("%s: option zone: %s", declared.name, problem) else declared.zone = value end
end

function TASK.at(declared, value)
  local ms = host.time(value)
  if expect_option(declared, ms, "at", 'a time such as "2026-02-01T08:26:00Z"', value) then declared.at = ms end
end

function TASK.missed(declared, value)
  if expect_option(declared, value == "run once" or value == "skip", "missed", '"run once" or "skip"', value) then
    declared.missed = value
  end
end

-- Options that do not go together.
local function check_together(declared, options)
  if declared.key == false and declared.initial then
    report_here("%s: option initial: a free-style projection (key = false) has no initial document", declared.name)
  end
  if declared.kind ~= "task" then return end
  local moments = {}
  for _, option in ipairs { "every", "cron", "at" } do
    if options[option] ~= nil then moments[#moments + 1] = option end
  end
  if #moments > 1 then report_here("%s: options %s: only one of them", declared.name, table.concat(moments, " and ")) end
  if options.zone ~= nil and options.cron == nil then report_here("%s: option zone: belongs to cron", declared.name) end
  if options.missed ~= nil and #moments == 0 then report_here("%s: option missed: belongs to every, cron or at", declared.name) end
end

local function set_options(declared, options)
  only_while_loading(declared.kind .. " " .. declared.name)
  if type(options) ~= "table" then
    report_here("%s: expected a table of options, got %s", declared.name, shared.shown(options))
    return
  end
  if declared.configured then report_here("%s: options are given twice", declared.name) end
  declared.configured = true
  local known = KINDS[declared.kind].options
  for _, option in ipairs(sorted_keys(options)) do
    local check = known[option]
    if check then
      check(declared, options[option])
    elseif type(option) ~= "string" then
      report_here("%s: options have names: { initial = … }", declared.name)
    else
      report_here("%s: unknown option %s%s", declared.name, option, shared.hint(option, sorted_keys(known)))
    end
  end
  check_together(declared, options)
end

-- --- objects ---

-- bill.apply, bill.execute, outstanding.when
local function handler_table(declared, verb)
  local list, front = {}, {}
  declared[verb], shared.own[front] = list, true
  return setmetatable(outlive.hold(front), {
    __metatable = false,
    __index = function(_, name) return list[name] and list[name].handler end,
    __newindex = function(_, name, handler)
      only_while_loading(declared.name .. "." .. verb)
      local path, line = shared.here()
      if type(name) ~= "string" then
        host.report(path, line, ("%s.%s: expected the name of a message, got %s"):format(declared.name, verb, shared.shown(name)))
      elseif type(handler) ~= "function" then
        host.report(path, line, ("%s.%s.%s: expected a function, got %s"):format(declared.name, verb, name, shared.shown(handler)))
      elseif list[name] then
        host.report(path, line, ("%s.%s.%s: a second handler, the first is at %s:%d")
          :format(declared.name, verb, name, list[name].path, list[name].line))
      else
        list[name] = described(handler, name, path, line)
      end
    end,
  })
end

local function is_one_of(list, name)
  for _, other in ipairs(list) do
    if other == name then return true end
  end
  return false
end

local function report_part(declared, part)
  local kind, parts = KINDS[declared.kind], {}
  for _, list in ipairs { kind.tables, kind.functions } do table.move(list, 1, #list, #parts + 1, parts) end
  report_here("%s.%s: %s %s has %s%s", declared.name, tostring(part), article(declared.kind), declared.kind,
    table.concat(parts, ", "), shared.hint(part, parts))
end

local function make_object(declared)
  local kind, parts = KINDS[declared.kind], { name = declared.name }
  for _, verb in ipairs(kind.tables) do parts[verb] = handler_table(declared, verb) end
  local object = {}
  shared.own[object] = true
  return setmetatable(outlive.hold(object), {
    __metatable = false,
    __name = declared.kind,
    __call = function(_, options)
      set_options(declared, options)
      return object
    end,
    __index = function(_, part)
      if parts[part] ~= nil then return parts[part] end
      if is_one_of(kind.functions, part) then return declared[part] and declared[part].handler end
      report_part(declared, part)
      return sink
    end,
    __newindex = function(_, part, value)
      only_while_loading(declared.name .. "." .. tostring(part))
      if not is_one_of(kind.functions, part) then
        report_part(declared, part)
      elseif type(value) ~= "function" then
        report_here("%s.%s: expected a function, got %s", declared.name, part, shared.shown(value))
      elseif declared[part] then
        report_here("%s.%s: defined twice", declared.name, part)
      else
        declared[part] = described(value, part, shared.here())
      end
    end,
  })
end

-- --- the words ---

-- Whoever already has the name, of this kind or of another that would have the same stream.
local function find_first(context, kind, name)
  if context[kind][name] or not is_one_of(words.WITH_STREAMS, kind) then return context[kind][name] end
  for _, other in ipairs(words.WITH_STREAMS) do
    if context[other][name] then return context[other][name] end
  end
end

local function declaring_word(context, kind)
  return function(name, options)
    only_while_loading(kind)
    if type(name) ~= "string" or not host.is_name(name) then
      report_here("%s: expected a name of small letters, digits and _, got %s", kind, shared.shown(name))
      name = type(name) == "string" and name or "?"
    end
    local path, line = shared.here()
    local declared = { kind = kind, name = name, context = context.name, path = path, line = line }
    local object = make_object(declared)
    local first = find_first(context, kind, name)
    if first and first.kind == kind then
      host.report(path, line, ("%s %q: declared twice, first at %s:%d"):format(kind, name, first.path, first.line))
    elseif first then
      host.report(path, line, ("%s %q: there is %s %s of this name at %s:%d, and each has a stream of its own")
        :format(kind, name, article(first.kind), first.kind, first.path, first.line))
    elseif name ~= "?" then
      context[kind][name] = declared
      context.order[#context.order + 1] = declared
    end
    if shared.files[path] and shared.files[path].kind == "shared" then
      host.report(path, line, kind .. ": declarations belong into the folder of a context")
    end
    if options ~= nil then set_options(declared, options) end
    return object
  end
end

local function contracts_word(text)
  only_while_loading("contracts")
  local path, line = shared.here()
  if not (shared.files[path] and shared.files[path].contracts[text]) then
    host.report(path, line, "contracts: expected the text in place: contracts [[ … ]]")
  end
end

local function upcast_word(context)
  local front = {}
  shared.own[front] = true
  return setmetatable(outlive.hold(front), {
    __metatable = false,
    __index = function(_, type_name)
      local versions = {}
      shared.own[versions] = true
      return setmetatable(outlive.hold(versions), { __metatable = false, __newindex = function(_, version, handler)
        only_while_loading("upcast")
        local path, line = shared.here()
        local name = ("upcast.%s.%s"):format(tostring(type_name), tostring(version))
        local number = type(version) == "string" and math.tointeger(tonumber(version:match("^v([1-9]%d*)$")))
        if type(handler) ~= "function" then
          host.report(path, line, ("%s: expected a function, got %s"):format(name, shared.shown(handler)))
        elseif debug.getinfo(handler, "S").what == "C" then
          host.report(path, line, name .. ": expected a function of the script")
        elseif not number then
          host.report(path, line, name .. ": expected a version: v1, v2, …")
        else
          context.upcasters[#context.upcasters + 1] = { name = name, type = type_name, version = number, handler = handler,
            path = path, line = line, parameters = words.parameters_of(handler) }
        end
      end })
    end,
    __newindex = function(_, type_name)
      only_while_loading("upcast")
      report_here("upcast.%s: an upcaster belongs to a version: function upcast.%s.v1(e, m)", tostring(type_name), tostring(type_name))
    end,
  })
end

-- The globals of a context's files. Its declarations go into context[kind][name] and context.order.
function words.of(context, require_word)
  local globals = { contracts = contracts_word, upcast = upcast_word(context), require = require_word }
  for _, kind in ipairs(words.KINDS) do
    context[kind] = {}
    globals[kind] = declaring_word(context, kind)
  end
  return globals
end

return words
