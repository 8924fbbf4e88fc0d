-- loader.lua: environments, require, and what must fit together at the end. The words that declare are in words.lua.
--
-- loader.c drives it: open (contexts), contracts, add_messages, file, finding, run, hub, validate, result. `host` is what C gives:
--   report(path, line, text)  warn(path, line, text)  nearest(name, names)  encode(value, what)  is_decimal(value)
--   add_message(description) -> constructor     compile(path, env) -> function or nil     is_name(text)
--   read_only(table) -> target or nil     freeze(tables)     next(table, key): in any order
--   duration(value), time(value) -> ms or nil     cron_problem(text), zone_problem(name) -> text or nil
--
-- What is wrong is reported and loading goes on; only what cannot go on is an error (its text gets its place from vm.c).

local host, modules = ...
local contracts, outlive, words, sorted_keys = modules.contracts, modules.outlive, modules.words, modules.sorted_keys
local tostring = host.text -- shows no addresses: texts are the same in every process

local loader = {}

local IMPORT_WORDS = { send = true, record = true }

local contexts = {}   -- name -> { env, shared_env, set, messages, modules, upcasters, order, aggregate, projection, … }
local files = {}      -- path -> { path, context, kind, contracts, requires, ... }
local stack = {}      -- modules that are being loaded, outermost first
local comparisons = {}
local fields = {}     -- send.bill, views.x, http.post: looked at when all is declared
-- What stands behind the dot of a word: declarations of these kinds, or these functions. Of words that scripts meet in handlers only.
local FIELDS = {
  send = { kinds = { "aggregate", "service" } }, cancel = { kinds = { "aggregate", "service" } }, views = { kinds = { "projection" } },
  http = { names = { "get", "post", "put", "delete" } }, log = { names = { "info", "warn", "error" } }, clock = { names = { "now" } },
}
local base_globals = {}
local own = setmetatable({}, { __mode = "k" }) -- tables of this file that scripts hold: freezing passes them over
local phase = "load"    -- then "done", and "demand" while an import script loads
local folder          -- "scripts", as it was given; chunk names are paths inside it, so that no text depends on where it lies

local function hint(name, names)
  local near = type(name) == "string" and host.nearest(name, names)
  return near and (": did you mean %s?"):format(near) or ""
end

local function shown(value)
  return type(value) == "string" and ("%q"):format(value) or type(value)
end

-- The path (inside the folder) and line of the script that called.
local function here()
  for level = 2, 100 do
    local frame = debug.getinfo(level, "Sl")
    if not frame then break end
    local source = frame.source
    if source:sub(1, 1) == "@" and frame.currentline > 0 then
      return source:sub(2), frame.currentline
    end
  end
  return "?", 1
end

-- --- environments ---

local function fresh_env(more)
  local env = {}
  for name, value in pairs(base_globals) do env[name] = value end
  for name, value in pairs(more or {}) do env[name] = value end
  own[env] = true
  return setmetatable(env, { __metatable = false, __newindex = function(_, name)
    error(("assigns the global '%s': write local"):format(tostring(name)), 0)
  end })
end

-- sandbox, extra: tables of globals. scripts_folder: "scripts".
function loader.begin(sandbox, extra, scripts_folder)
  folder = scripts_folder
  for _, globals in ipairs { sandbox, extra } do
    for name, value in pairs(host.read_only(globals) or globals) do
      if type(name) == "string" then base_globals[name] = value end
      if type(value) == "table" then own[value] = true end
    end
  end
  own[debug.getmetatable(base_globals.list {})] = true
  words.begin { own = own, files = files, here = here, hint = hint, shown = shown,
    loading = function() return phase == "load" end }
end

function loader.open(name)
  local context = { name = name, messages = {}, modules = {}, upcasters = {}, order = {}, broken_files = false }
  contexts[name] = context
  context.set = contracts.new(name, host.report, host.nearest)
  context.env = fresh_env(words.of(context, loader.require_word(context, false)))
  context.shared_env = fresh_env { require = loader.require_word(context, true) }
end

function loader.env(name) return name ~= "" and contexts[name].env or fresh_env() end

-- An environment like that of the context with more in it, for imports and specs.
function loader.env_with(name, globals)
  local env = name ~= "" and contexts[name].env or base_globals
  local more = {}
  for key, value in pairs(env) do more[key] = value end
  for key, value in pairs(globals and (host.read_only(globals) or globals) or {}) do more[key] = value end
  return fresh_env(more)
end

function loader.file(path, context, kind, compiled)
  files[path] = { path = path, context = context, kind = kind, compiled = compiled, contracts = {}, requires = {}, outer = {} }
  local broken = not compiled and contexts[context]
  if broken then broken.broken_files = true end
  if broken and path == context .. "/contracts.lua" then broken.set.broken = true end -- its own error says enough
end

-- --- contracts ---

function loader.contracts(path, line, text)
  local file = files[path]
  if file.kind ~= "declaration" then
    host.report(path, line, "contracts: belong into a file directly in the folder of their context")
    return
  end
  file.contracts[text] = true
  contracts.parse(contexts[file.context].set, path, line, text)
end

function loader.add_messages()
  for _, name in ipairs(sorted_keys(contexts)) do
    local context = contexts[name]
    for _, message in ipairs(contracts.expand(context.set)) do
      message.constructor = host.add_message(message)
      context.messages[message.name] = message
      if base_globals[message.name] ~= nil then
        host.report(message.path, message.line, message.name .. ": the name of a global: choose another")
      end
      rawset(context.env, message.name, message.constructor)
    end
  end
end

-- --- static findings ---

local function visible(file)
  if file.context == "" then
    return file.path == "hub.lua" and base_globals or fresh_env { require = true }
  end
  return contexts[file.context].env
end

-- near: the nearest local in scope, or "".
local function report_global(path, line, name, env, more, context, near)
  if env[name] ~= nil or (more and more[name] ~= nil) then return end
  if name:find("^%u") then
    if context and context.set.broken then return end -- perhaps among what did not parse
    for _, other in ipairs(sorted_keys(contexts)) do
      if contexts[other].messages[name] then
        host.report(path, line, ("%s: a message of %s: only scripts of %s can make it"):format(name, other, other))
        return
      end
    end
  end
  local names = sorted_keys(env)
  for key in pairs(more or {}) do names[#names + 1] = key end
  if near ~= "" then names[#names + 1] = near end
  host.report(path, line, ("the global '%s' does not exist%s"):format(name, hint(name, names)))
end

function loader.finding(path, kind, name, line, parameter, function_line, near, of)
  local file = files[path]
  if kind == "read_global" then
    local more = file.kind == "on_demand" and IMPORT_WORDS or nil
    report_global(path, line, name, visible(file), more, contexts[file.context], near)
  elseif kind == "write_global" then
    host.report(path, line, ("assigns the global '%s': write local %s"):format(name, name))
  elseif outlive.note(file, kind, name, line, function_line) then return
  elseif kind == "env" then
    host.report(path, line, "_ENV: not available in scripts")
  elseif kind == "read_field" then
    if FIELDS[of] and base_globals[of] ~= nil and file.kind == "declaration" then
      fields[#fields + 1] = { path = path, line = line, of = of, name = name }
    end
  elseif kind == "require" then
    file.requires[#file.requires + 1] = { name = name, line = line }
  elseif kind == "compares_decimal" then
    host.warn(path, line, ("%s == a number is always false for a decimal: write %s == decimal(…) or %s:is_zero()")
      :format(name, name, name))
  elseif kind == "compares_number" then
    comparisons[#comparisons + 1] = { path = path, line = line, field = name, parameter = parameter, function_line = function_line }
  end
end

-- For texts that are no sources: specs, the REPL.
function loader.text_finding(chunk, kind, name, line, context, env, near)
  if kind == "read_global" then report_global(chunk, line, name, env, nil, contexts[context], near)
  elseif kind == "write_global" then host.report(chunk, line, ("assigns the global '%s': write local %s"):format(name, name))
  elseif kind == "env" then host.report(chunk, line, "_ENV: not available in scripts")
  end
end

-- --- require ---

-- The file a name means for a file of context; shared: for a file of scripts/ itself.
local function resolve(context, shared, name)
  local relative = name:gsub("%.", "/") .. ".lua"
  if not shared and files[context.name .. "/" .. relative] then return context.name .. "/" .. relative end
  if files[relative] and files[relative].kind == "shared" and relative ~= "hub.lua" then return relative end
end

local function module_names(context, shared)
  local names = {}
  for path, file in pairs(files) do
    if file.kind == "shared" and path ~= "hub.lua" then names[#names + 1] = path:sub(1, -5) end
    if not shared and file.context == context.name then
      names[#names + 1] = path:sub(#context.name + 2, -5):gsub("/", ".")
    end
  end
  table.sort(names)
  return names
end

local function missing_text(context, shared, name)
  local where = shared and folder or ("%s/%s and %s"):format(folder, context.name, folder)
  return ("require %q: no such module in %s%s"):format(name, where, hint(name, module_names(context, shared)))
end

local function cycle_text(path)
  local names, from = {}, 1
  for index, entry in ipairs(stack) do if entry.path == path then from = index end end
  for index = from, #stack do names[#names + 1] = stack[index].path end
  names[#names + 1] = path
  return "require: a cycle: " .. table.concat(names, " -> ")
end

-- Runs a file of a context once; shared modules once per context.
local function run(context, path)
  local file = files[path]
  local module = context.modules[path]
  if not module then
    module = { path = path, state = "new" }
    context.modules[path] = module
  end
  if module.state == "loaded" then return module.value end
  if module.state == "running" then error(cycle_text(path), 0) end
  if module.state == "failed" or not file.compiled then
    module.state = "failed"
    host.fail_silently()
  end
  local chunk = host.compile(path, file.kind == "shared" and context.shared_env or context.env)
  module.state = "running"
  stack[#stack + 1] = module
  local value = chunk()
  stack[#stack] = nil
  module.state = "loaded"
  if value == nil then value = true end
  module.value = value
  return value
end

function loader.require_word(context, shared)
  return function(name)
    if type(name) ~= "string" then error(("require: expected the name of a module, got %s"):format(shown(name)), 0) end
    local path = resolve(context, shared, name)
    if not path then error(missing_text(context, shared, name), 0) end
    local module = context.modules[path]
    if phase == "done" and not (module and module.state == "loaded") then
      error(("require %q: was not loaded with the scripts: require it at file level"):format(name), 0)
    end
    local current = stack[#stack]
    if phase ~= "done" and current then
      local file = files[current.path]
      file.requires[#file.requires + 1] = { name = name }
    end
    return run(context, path)
  end
end

-- From C, under the budget.
function loader.run(path)
  run(contexts[files[path].context], path)
end

-- After an error in run: whatever was being loaded did not load.
function loader.failed()
  for index = #stack, 1, -1 do
    stack[index].state = "failed"
    stack[index] = nil
  end
end

-- Literal requires inside functions: loaded now, so that handlers find them. Returns context names and paths to run.
function loader.preloads()
  local list = {}
  for _, path in ipairs(sorted_keys(files)) do
    local file = files[path]
    local context = contexts[file.context]
    for _, required in ipairs(context and file.requires or {}) do
      local target = resolve(context, false, required.name)
      if not target then
        if required.line then host.report(path, required.line, missing_text(context, false, required.name)) end
      elseif not context.modules[target] then
        list[#list + 1] = { context = context.name, path = target }
      end
    end
  end
  return list
end

function loader.run_in(context, path) run(contexts[context], path) end

function loader.hub()
  local options = host.compile("hub.lua", fresh_env())()
  if type(options) ~= "table" then error("hub.lua:1: hub.lua must return a table of options", 0) end
  return host.encode(options, "hub")
end

-- All files that path needs, itself included, sorted.
local function closure(context, path)
  local seen = {}
  local function visit(at)
    if seen[at] then return end
    seen[at] = true
    for _, required in ipairs(files[at].requires) do
      local target = resolve(context, files[at].kind == "shared", required.name)
      if target then visit(target) end
    end
  end
  visit(path)
  return sorted_keys(seen)
end

-- --- validation ---

local function names_of(context, event)
  local names = {}
  for name, message in pairs(context.messages) do
    if event == nil or message.event == event then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- The message a handler is for, or nil after a report. prefix: what stands before its name ("security.").
local function find_message(at, context, prefix, name, event)
  local message = context.messages[name]
  if not message then
    if context.set.broken then return end
    local near = host.nearest(name, names_of(context, event)) or host.nearest(name, names_of(context))
    if near then
      host.report(at.path, at.line, ("%s%s: did you mean %s%s? (no contract of %s declares it)")
        :format(prefix, name, prefix, near, context.name))
    else
      host.report(at.path, at.line, ("%s%s: no contract of %s declares it"):format(prefix, name, context.name))
    end
  elseif message.event ~= event then
    host.report(at.path, at.line, ("%s%s is %s, here stands the handler of %s"):format(prefix, name,
      message.event and "an event" or "a command", event and "an event" or "a command"))
  else
    return message
  end
end

local function check_own(declared, verb, event)
  local context, found = contexts[declared.context], {}
  for _, name in ipairs(sorted_keys(declared[verb])) do
    local handler = declared[verb][name]
    if name:find("[.:]") then
      host.report(handler.path, handler.line, ("%s.%s: %s: %s handles messages of its own context"):format(
        declared.name, verb, name, declared.kind == "aggregate" and "an aggregate" or "a service"))
    else
      local message = find_message(handler, context, "", name, event)
      if message then found[#found + 1] = { message = message, handler = handler } end
    end
  end
  return found
end

-- "mailing.ReminderSent" of "ReminderSent", if that is an event of another context.
local function elsewhere(name)
  for _, other in ipairs(sorted_keys(contexts)) do
    local message = contexts[other].messages[name]
    if message and message.event then return other .. "." .. name end
  end
end

local function check_when(declared)
  local found, seen = {}, {}
  for _, name in ipairs(sorted_keys(declared.when)) do
    local handler = declared.when[name]
    local other, type_name = name:match("^([^.:]*)%.([^.]*)$")
    local context = contexts[other or declared.context]
    if name:find(":", 1, true) then
      host.report(handler.path, handler.line, name .. ": events of other hubs are not available in this version")
    elseif not context then
      host.report(handler.path, handler.line, ("%s: no context %s%s"):format(name, other or "?", hint(other, sorted_keys(contexts))))
    elseif not (other or context.messages[name] or context.set.broken) and elsewhere(name) then
      host.report(handler.path, handler.line, ("%s: no contract of %s declares it: did you mean %s.when[%q]?"):format(name, context.name,
        declared.name, elsewhere(name)))
    else
      local message = find_message(handler, context, other and other .. "." or "", type_name or name, true)
      local first = message and seen[message]
      if first then
        local second = first.line <= handler.line and handler or first
        local earlier = second == handler and first or handler
        host.report(second.path, second.line, ("%s.when.%s: a second handler, the first is at %s:%d")
          :format(declared.name, second.name, earlier.path, earlier.line))
      elseif message then
        seen[message] = handler
        found[#found + 1] = { message = message, handler = handler }
      end
    end
  end
  table.sort(found, function(a, b)
    return a.message.context .. "." .. a.message.name < b.message.context .. "." .. b.message.name
  end)
  return found
end

local function check_upcasters(context)
  for _, upcaster in ipairs(context.upcasters) do
    local type_name = tostring(upcaster.type)
    local message = context.messages[type_name]
    if not message then
      if not context.set.broken then
        host.report(upcaster.path, upcaster.line, ("%s: no contract of %s declares %s%s"):format(upcaster.name, context.name,
          type_name, hint(type_name, names_of(context, true))))
      end
    elseif not message.event then
      host.report(upcaster.path, upcaster.line, ("%s: %s is a command, only events have versions"):format(upcaster.name, type_name))
    elseif upcaster.version >= message.version then
      local last = message.version - 1
      local meant = last == 0 and " and needs no upcaster" or (": did you mean v%d?"):format(last)
      host.report(upcaster.path, upcaster.line, ("%s: %s is at version %d%s"):format(upcaster.name, type_name, message.version, meant))
    else
      message.upcasters = message.upcasters or {}
      local first = message.upcasters[upcaster.version]
      if first then
        host.report(upcaster.path, upcaster.line,
          ("%s: a second upcaster, the first is at %s:%d"):format(upcaster.name, first.path, first.line))
      else
        message.upcasters[upcaster.version] = upcaster
      end
    end
  end
  if context.incomplete then return end -- a file did not load: its upcasters may be the missing ones
  for _, name in ipairs(names_of(context, true)) do
    local message = context.messages[name]
    for version = 1, message.version - 1 do
      if not (message.upcasters and message.upcasters[version]) then
        host.report(message.path, message.line, ("%s!%d: version %d has no upcaster: write function upcast.%s.v%d(e, m)")
          :format(name, message.version, version, name, version))
      end
    end
  end
end

local function field_kind(message, name)
  for _, field in ipairs(message.type.fields) do
    if field.name == name then return field.type.kind end
  end
end

-- e.amount == 0 where amount is a decimal: of the message (second parameter), or of the initial state (first).
local function warn_comparisons(declared, found)
  for _, comparison in ipairs(comparisons) do
    for _, pair in ipairs(found) do
      local handler = pair.handler
      if comparison.path == handler.path and comparison.function_line == handler.defined then
        local initial = declared.initial_value
        local decimal = comparison.parameter == 2 and field_kind(pair.message, comparison.field) == "decimal"
          or comparison.parameter == 1 and initial and host.is_decimal(initial[comparison.field])
        if decimal then
          host.warn(comparison.path, comparison.line,
            ("%s is a decimal, and a decimal never equals a number: compare with decimal(…) or use :is_zero()"):format(comparison.field))
        end
      end
    end
  end
end

local result = { aggregates = {}, projections = {}, receptors = {}, services = {}, tasks = {}, upcasters = {} }

local function handlers_of(found)
  local list = {}
  for index, pair in ipairs(found) do
    list[index] = { context = pair.message.context, type = pair.message.name, handler = pair.handler.handler,
      parameters = pair.handler.parameters, path = pair.handler.path, line = pair.handler.line }
  end
  return list
end

local function add_aggregate(declared)
  local apply, execute = check_own(declared, "apply", true), check_own(declared, "execute", false)
  warn_comparisons(declared, apply)
  warn_comparisons(declared, execute)
  local options = host.encode({ initial = declared.initial_value }, "options")
  result.aggregates[#result.aggregates + 1] = { name = declared.name, context = declared.context, path = declared.path,
    line = declared.line, initial = declared.initial, apply = handlers_of(apply), execute = handlers_of(execute),
    conflicts = declared.conflicts and declared.conflicts.handler, options = options,
    closure = closure(contexts[declared.context], declared.path) }
end

local function add_projection(declared)
  local when = check_when(declared)
  warn_comparisons(declared, when)
  local key = declared.key == nil and "id" or declared.key == false and "free" or "function"
  local options = host.encode({ initial = declared.initial_value, key = key,
    index = declared.index and #declared.index > 0 and declared.index or nil }, "options")
  result.projections[#result.projections + 1] = { name = declared.name, context = declared.context, path = declared.path,
    line = declared.line, initial = declared.initial, key_style = key, key = declared.key or nil,
    key_parameters = declared.key and words.parameters_of(declared.key) or 0, index = declared.index or {},
    when = handlers_of(when), closure = closure(contexts[declared.context], declared.path), options = options }
end

-- A receptor, service or task, with what they have in common.
local function described(declared, options)
  return { name = declared.name, context = declared.context, path = declared.path, line = declared.line,
    closure = closure(contexts[declared.context], declared.path), options = host.encode(options, "options") }
end

-- It is loaded nevertheless: somebody may be about to write it.
local function warn_idle(declared, found)
  if #found == 0 then
    host.warn(declared.path, declared.line, ("%s %q: without handlers it does nothing"):format(declared.kind, declared.name))
  end
end

local function add_receptor(declared)
  local when = check_when(declared)
  warn_idle(declared, when)
  warn_comparisons(declared, when)
  local receptor = described(declared, { since = declared.since })
  receptor.when, receptor.since_start = handlers_of(when), declared.since == "start"
  result.receptors[#result.receptors + 1] = receptor
end

local function add_service(declared)
  local when = check_own(declared, "when", false)
  warn_idle(declared, when)
  warn_comparisons(declared, when)
  local service = described(declared, {})
  service.when = handlers_of(when)
  result.services[#result.services + 1] = service
end

local function add_task(declared)
  if not declared.run then
    host.report(declared.path, declared.line, ("task %q: has no function: write function %s.run(now)"):format(declared.name, declared.name))
    return
  end
  if not (declared.every or declared.cron or declared.at or declared.configured) then
    host.warn(declared.path, declared.line, ("task %q: without every, cron or at it runs only by hand"):format(declared.name))
  end
  local task = described(declared, { every = declared.every, cron = declared.cron, zone = declared.zone, at = declared.at,
    missed = declared.missed })
  task.run, task.every, task.cron, task.zone = declared.run, declared.every, declared.cron, declared.zone
  task.at, task.skip_missed = declared.at, declared.missed == "skip"
  result.tasks[#result.tasks + 1] = task
end

local ADD = { aggregate = add_aggregate, projection = add_projection, receptor = add_receptor, service = add_service, task = add_task }

local function add_upcasters(context)
  for _, name in ipairs(names_of(context, true)) do
    local message = context.messages[name]
    if message.version > 1 then
      local list = { context = context.name, name = name }
      for version = 1, message.version - 1 do
        local upcaster = message.upcasters and message.upcasters[version]
        if not upcaster then return end -- reported
        local info = debug.getinfo(upcaster.handler, "S")
        local alone = true
        for index = 1, 255 do
          local upvalue = debug.getupvalue(upcaster.handler, index)
          if not upvalue then break end
          if upvalue ~= "_ENV" then alone = false end
        end
        list[version] = { handler = upcaster.handler, parameters = upcaster.parameters, path = info.source:sub(2),
          first = info.linedefined, last = info.lastlinedefined, alone = alone,
          closure = closure(context, upcaster.path) }
      end
      result.upcasters[#result.upcasters + 1] = list
    end
  end
end

local function check_field(field)
  local word, context = FIELDS[field.of], contexts[files[field.path].context]
  local names = table.move(word.names or {}, 1, 9, 1, {})
  for _, kind in ipairs(word.kinds or {}) do
    if context.incomplete then return end -- perhaps in what did not load
    for _, name in ipairs(sorted_keys(context[kind])) do names[#names + 1] = name end
  end
  for _, name in ipairs(names) do
    if name == field.name then return end
  end
  local what = word.kinds and ("context %s has no %s of this name"):format(context.name, table.concat(word.kinds, " or "))
    or "there is " .. table.concat(names, ", ")
  host.report(field.path, field.line, ("%s.%s: %s%s"):format(field.of, field.name, what, hint(field.name, names)))
end

-- Everything is loaded: what does not fit together? Afterwards loader.result() is complete if nothing was reported.
function loader.validate()
  for _, name in ipairs(sorted_keys(contexts)) do
    local context = contexts[name]
    context.incomplete = context.broken_files
    for _, module in pairs(context.modules) do
      if module.state ~= "loaded" then context.incomplete = true end
    end
    check_upcasters(context)
    for _, kind in ipairs(words.KINDS) do
      for _, declared_name in ipairs(sorted_keys(context[kind])) do ADD[kind](context[kind][declared_name]) end
    end
    add_upcasters(context)
  end
  for _, field in ipairs(fields) do check_field(field) end
  phase = "done"
  return result
end

loader.freeze = outlive.freeze
function loader.reach() outlive.reach(contexts, files, own) end

-- A file loaded later may require modules, but declares nothing.
function loader.run_on_demand(path, globals)
  phase = "demand"
  local context = contexts[files[path].context]
  local env = loader.env_with(context.name, globals)
  stack[1] = { path = path, state = "running" }
  local value = host.compile(path, env)()
  stack[1] = nil
  phase = "done"
  return value
end

function loader.end_on_demand()
  loader.failed()
  phase = "done"
end

return loader
