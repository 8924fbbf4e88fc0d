-- types.lua: lore types. Annotations for the Lua language server out of what is declared, its .luarc.json, and a .luacheckrc.
local core = require "lore.core"
local book = require "lore.book"
local json_text = require "lore.json_text"
local words = require "lore.types_words"

local out = {}
local function line(text, ...) out[#out + 1] = select("#", ...) > 0 and text:format(...) or text end

-- A comment as one, whatever stands in it.
local function comment(text)
  for each in (text or ""):gmatch "[^\n]+" do line("---%s", (each:gsub("^%s*@", "at "))) end
end

-- --- fields ---

-- How a type reads, and what a constructor takes for it.
local READ = { string = "string", integer = "integer", number = "number", boolean = "boolean", time = "lore.Time",
  decimal = "lore.Decimal", any = "any" }
local TAKE = setmetatable({ time = "lore.TimeLike", decimal = "lore.DecimalLike" }, { __index = READ })

local function type_of(form, names)
  if form.kind == "list" then
    local item = type_of(form.item, names)
    return (item:find "|" and "(%s)[]" or "%s[]"):format(item)
  end
  if form.kind == "map" then return ("table<string, %s>"):format(type_of(form.item, names)) end
  if form.kind == "record" then
    local fields = {}
    for index, field in ipairs(form.fields) do
      fields[index] = ("%s%s: %s"):format(field.name, field.optional and "?" or "", type_of(field.form, names))
    end
    return #fields > 0 and "{ " .. table.concat(fields, ", ") .. " }" or "{}"
  end
  return names[form.kind]
end

local function fields(message, names)
  for _, field in ipairs(message.fields) do
    line("---@field %s%s %s%s", field.name, field.optional and "?" or "", type_of(field.form, names), field.pii and " personal data" or "")
  end
end

-- --- messages ---

for _, message in ipairs(book.messages) do
  line ""
  comment(message.comment)
  line("---@class %s", message.full)
  fields(message, READ)
  line("---@class %s.fields", message.full)
  fields(message, TAKE)
end

-- A name that several contexts have is one function: the language server knows no globals of a folder.
local by_name = {}
for _, message in ipairs(book.messages) do
  by_name[message.name] = by_name[message.name] or {}
  table.insert(by_name[message.name], message)
end

local function joined(list, make, separator)
  local parts = {}
  for index, each in ipairs(list) do parts[index] = make(each) end
  return table.concat(parts, separator or "|")
end

local function full(message) return message.full end

for _, name in ipairs(book.sorted(by_name)) do
  local same = by_name[name]
  line ""
  line("---%s", joined(same, function(message) return ("%s of %s (%s:%d)"):format(message.kind, message.context, message.path,
    message.line) end, ", "))
  line("---@param fields %s", joined(same, function(message) return message.full .. ".fields" end))
  line("---@return %s", joined(same, full))
  line("function %s(fields) end", name)
end

-- What cannot be the global of a context: words of Lua, and those that specs see first.
local taken = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true until while
  aggregate projection receptor service task send cancel]]):gmatch "%a+" do
  taken[word] = true
end
for word in words:gmatch "\nfunction ([%w_]+)%(" do taken[word] = true end
for word in words:gmatch "\n([%w_]+) = {}" do taken[word] = true end

local function has_global(context) return not taken[context.name] end

-- In specs other contexts are tables of their messages.
for _, context in ipairs(book.contexts) do
  if not has_global(context) then goto next end
  line ""
  line("---@class lore.context.%s", context.name)
  for _, message in ipairs(context.messages) do line("---@field %s fun(fields: %s.fields): %s", message.name, message.full,
    message.full) end
  line("%s = {}", context.name)
  ::next::
end

-- --- handlers ---

-- What a handler of a kind gets: a pattern for its type, with the message's class in it.
local HANDLERS = {
  apply = { is_event = true, text = "fun(state: table, e: %s, m: lore.Envelope)" },
  execute = { is_event = false, text = "fun(state: table, c: %s, m: lore.Envelope): ...: any" },
  view = { is_event = true, others = true, text = "fun(view: table, e: %s, m: lore.Envelope): false?" },
  docs = { is_event = true, others = true, text = "fun(docs: lore.Docs, e: %s, m: lore.Envelope)" },
  hear = { is_event = true, others = true, text = "fun(e: %s, m: lore.Envelope)" },
  serve = { is_event = false, text = "fun(c: %s, m: lore.Envelope): ...: any" },
}

-- One class for the handlers of a word in the contexts that have a declaration of that name.
local function handlers(class, what, contexts, parents)
  local handler, own = HANDLERS[what], {}
  line("---@class %s%s", class, parents or "")
  for _, context in ipairs(contexts) do
    for _, message in ipairs(context.messages) do
      if message.is_event == handler.is_event then
        own[message.name] = own[message.name] or {}
        table.insert(own[message.name], message)
      end
    end
  end
  for _, name in ipairs(book.sorted(own)) do
    line("---@field %s? %s", name, (handler.text:format(joined(own[name], full))))
  end
  for _, message in ipairs(handler.others and book.messages or {}) do
    if message.is_event then line('---@field ["%s"]? %s', message.full, (handler.text:format(message.full))) end
  end
end

-- --- declarations ---

local WORDS = {
  aggregate = { class = "lore.Aggregate", options = "lore.AggregateOptions", parts = { { "apply", "apply" }, { "execute", "execute" } } },
  projection = { class = "lore.Projection", options = "lore.ProjectionOptions", parts = { { "when", "view" } } },
  receptor = { class = "lore.Receptor", options = "lore.ReceptorOptions", parts = { { "when", "hear" } } },
  service = { class = "lore.Service", parts = { { "when", "serve" } } },
  task = { class = "lore.Task", options = "lore.TaskOptions", parts = {} },
}

local function blocks_of(kind)
  local named = {}
  for _, block in ipairs(book.blocks) do
    if block.kind == kind then
      named[block.name] = named[block.name] or {}
      table.insert(named[block.name], block)
    end
  end
  return named
end

local function contexts_of(blocks)
  local found = {}
  for index, block in ipairs(blocks) do found[index] = book.context(block.context) end
  return found
end

for _, kind in ipairs { "aggregate", "projection", "receptor", "service", "task" } do
  local word, named = WORDS[kind], blocks_of(kind)
  for _, name in ipairs(book.sorted(named)) do
    local blocks = named[name]
    local class = ("lore.%s.%s"):format(kind, name)
    for _, part in ipairs(word.parts) do
      line ""
      local what = kind == "projection" and blocks[1].key == "free" and "docs" or part[2]
      handlers(class .. "." .. part[1], what, contexts_of(blocks))
      -- in a spec the same word is a step
      if kind == "service" then line("---@overload fun(self: %s, commands: table): %s", class, class) end
    end
    line ""
    for _, block in ipairs(blocks) do comment(block.comment) end
    line("---@class %s : %s", class, word.class)
    for _, part in ipairs(word.parts) do line("---@field %s %s.%s", part[1], class, part[1]) end
    if word.options then line("---@overload fun(options: %s): %s", word.options, class) end
  end
  line ""
  for _, name in ipairs(book.sorted(named)) do
    line('---@overload fun(name: "%s"%s): lore.%s.%s', name, kind == "aggregate" and ", id?: string|integer" or "", kind, name)
  end
  line "---@param name string"
  if kind == "aggregate" then line "---@param id? string|integer of the scenario of a spec" end
  line("---@return %s", word.class)
  line("function %s(name%s) end", kind, kind == "aggregate" and ", id" or "")
end

-- --- words that know names ---

line ""
line "---@class lore.Upcasters"
for _, name in ipairs(book.sorted(by_name)) do
  if by_name[name][1].is_event then line("---@field %s table<string, fun(e: table, m: lore.Envelope): table>", name) end
end
line "upcast = {}"

local aggregates, services, views = blocks_of "aggregate", blocks_of "service", blocks_of "projection"

local function commands_of(blocks)
  local names, seen = {}, {}
  for _, block in ipairs(blocks) do
    for _, name in ipairs(block.commands) do
      local command = block.context .. "." .. name
      if not seen[command] then names[#names + 1] = command end
      seen[command] = true
    end
  end
  return #names > 0 and table.concat(names, "|") or "any"
end

line ""
line "---@class lore.Send"
for _, name in ipairs(book.sorted(aggregates)) do
  line("---@field %s fun(id: string|integer, command: %s, options?: lore.SendOptions): any", name, commands_of(aggregates[name]))
end
for _, name in ipairs(book.sorted(services)) do
  if not aggregates[name] then line("---@field %s fun(command: %s, options?: lore.SendOptions): any", name, commands_of(services[name])) end
end
line "send = {}"
line ""
line "---@class lore.Cancel"
for _, name in ipairs(book.sorted(aggregates)) do line("---@field %s fun(id: string|integer, key: string): any", name) end
for _, name in ipairs(book.sorted(services)) do
  if not aggregates[name] then line("---@field %s fun(key: string): any", name) end
end
line "cancel = {}"
line ""
line "---@class lore.Record"
for _, name in ipairs(book.sorted(aggregates)) do
  line("---@field %s fun(id: string|integer, event: any, options?: { at?: lore.TimeLike, id?: string })", name)
end
line "record = {}"
line ""
line "---@class lore.Views"
for _, name in ipairs(book.sorted(views)) do line("---@field %s lore.View", name) end
line "views = {}"

-- --- luacheck ---

local function lua_list(names)
  local quoted = {}
  for index, name in ipairs(names) do quoted[index] = ("%q"):format(name) end
  return "{ " .. table.concat(quoted, ", ") .. " }"
end

local VALUES = { "decimal", "list", "days", "hours", "minutes", "seconds", "time" }
local DECLARE = { "contracts", "aggregate", "projection", "receptor", "service", "task" }
local HANDLE = { "emit", "reject", "send", "cancel", "publish", "retry", "http", "views", "clock", "log", "env" }
local SPECS = { "describe", "it", "before_each", "aggregate", "projection", "receptor", "service", "task", "send", "cancel", "at", "on" }

local function all(...)
  local names = {}
  for _, list in ipairs { ... } do table.move(list, 1, #list, #names + 1, names) end
  return names
end

local function luacheckrc()
  local scripts, specs = book.options.scripts, book.options.specs
  local rc = { "-- Made by lore types, which replaces it: each context knows its own messages.", 'std = "lua54"', "max_line_length = false",
    'ignore = { "212/m", "212/_.*" }' }
  local absent = lua_list { "io", "os", "debug", "package", "coroutine", "load", "loadfile", "dofile", "collectgarbage" }
  rc[#rc + 1] = ("files[%q] = { read_globals = %s, not_globals = %s }"):format(scripts, lua_list(all(VALUES, HANDLE)), absent)
  local names = {}
  for index, context in ipairs(book.contexts) do names[index] = context.name end
  for _, context in ipairs(book.contexts) do
    local messages = {}
    for index, message in ipairs(context.messages) do messages[index] = message.name end
    table.sort(messages)
    rc[#rc + 1] = ("files[%q] = { globals = { \"upcast\" }, read_globals = %s, not_globals = %s }"):format(scripts .. "/" .. context.name,
      lua_list(all(VALUES, DECLARE, HANDLE, { "record" }, messages)), absent)
    rc[#rc + 1] = ("files[%q] = { globals = { \"assert\" }, read_globals = %s }"):format(specs .. "/" .. context.name,
      lua_list(all(VALUES, SPECS, names, messages)))
  end
  return table.concat(rc, "\n") .. "\n"
end

local files = {
  { ".luarc.json", json_text { ["//"] = "made by lore types, which replaces it",
    ["$schema"] = "https://raw.githubusercontent.com/LuaLS/vscode-lua/master/setting/schema.json", ["runtime.version"] = "Lua 5.4",
    ["workspace.library"] = { ".lore" }, ["workspace.checkThirdParty"] = false,
    ["runtime.builtin"] = { coroutine = "disable", debug = "disable", io = "disable", os = "disable" } } },
  { ".luacheckrc", luacheckrc() },
  { ".lore/lore.lua", words },
  { ".lore/messages.lua", "---@meta\n-- Made by lore types, which replaces it: messages and declarations of the scripts.\n"
    .. table.concat(out, "\n") .. "\n" },
}
for _, file in ipairs(files) do core.write(file[1], "") end
for _, file in ipairs(files) do core.write(file[1], file[2]) end
