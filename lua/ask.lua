-- ask.lua: help and completion for a session of the REPL, out of reference.lua and what the scripts declare.
--
-- core/vm/ask_reference.c drives it. `host` is what C gives; nothing of it runs code of the session:
--   global(name)  field(value, name)           what is there, or nil
--   globals()  names(value)                    names of globals; of the fields of a table
--   kind(value)                                "aggregate", "view", "stream", "context", … , else its type
--   message(value) -> { name, event, fields = { { name, type }, … } } of a constructor, or nil
--   ids(aggregate, prefix, limit)  keys(view, prefix, limit)  indexes(view)  types()  nearest(name, names)

local host, modules = ...
local reference, sorted_keys = modules.reference, modules.sorted_keys

local ask = {}

local LOOKED_AT = 4096   -- bytes before the cursor
local CANDIDATES_MAX = 200
local LOOKED_UP_MAX = 50 -- ids and keys

local KEYWORDS = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil", "not",
  "or", "repeat", "return", "then", "true", "until", "while" }

-- --- what stands before the cursor ---

-- Where the bracket that closes at the end of text opened, or nil. Texts inside are not looked at: a bracket in one is counted.
local function opening(text)
  local depth = 0
  for at = #text, 1, -1 do
    local c = text:sub(at, at)
    if c:find "[%)%}%]]" then depth = depth + 1 end
    if c:find "[%(%{%[]" then
      depth = depth - 1
      if depth == 0 then return at end
    end
  end
end

-- The text without the arguments of a call at its end, or nil if there is none: f(x), f "x", f { … }.
local function before_arguments(text)
  local last = text:sub(-1)
  if last == ")" or last == "}" then
    local at = opening(text)
    return at and (text:sub(1, at - 1):gsub("%s+$", ""))
  elseif last == '"' or last == "'" then
    local before = text:match(last == '"' and '^(.-)%s*"[^"]*"$' or "^(.-)%s*'[^']*'$")
    return before and before:find "[%w_]$" and before or nil
  end
end

local kind_of

-- The value of a path of names at the end of text ("billing.bill"), or nil.
local function value_of(text)
  local path = text:match "[%a_][%w_%.]*$"
  local before = path and text:sub(-#path - 1, -#path - 1) -- x():a.b is no path from a global
  if not path or before == ":" or before == "." then return nil end
  local value
  for name in path:gmatch "[^%.]+" do
    if value == nil then value = host.global(name) else value = host.field(value, name) end
    if value == nil then return nil end
  end
  return value
end

-- What the expression at the end of text gives: a kind of the reference, and its value if that is known.
function kind_of(text)
  local callee = before_arguments(text)
  if callee and not callee:find "[%w_]$" then
    local alone = text:sub(-1) == ")" and not callee:find "[%)%]%}\"']$" -- (expression), not what another one gives called
    return alone and kind_of(text:sub(opening(text) + 1, -2)) or nil
  end
  if not callee then
    local value = value_of(text)
    if value ~= nil then return host.kind(value), value end
    return text:find "[\"']$" and "string" or nil
  end
  local object, method = callee:match "^(.*):([%a_][%w_]*)$"
  if object then
    local entry = reference.by_name[(kind_of(object) or "") .. ":" .. method]
    return entry and entry.gives
  end
  local value = value_of(callee)
  local kind = value ~= nil and host.kind(value)
  local entry = reference.by_name[kind] or reference.by_name[callee:match "[%a_][%w_%.]*$" or ""]
  if kind == "function" then entry = reference.by_name[callee:match "[%a_][%w_%.]*$" or ""] end
  return entry and entry.gives
end

-- If the cursor is inside a text: what stands before it, and its beginning so far.
local function inside_text(text)
  local line = text:match "[^\n]*$"
  local quote, from
  local at = 1
  while at <= #line do
    local c = line:sub(at, at)
    if quote and c == "\\" then at = at + 1
    elseif quote == c then quote = nil
    elseif not quote and (c == '"' or c == "'") then quote, from = c, at
    elseif not quote and line:sub(at, at + 1) == "--" then return nil, nil, true end
    at = at + 1
  end
  if not quote then return nil end
  local begin = #text - #line + from
  return text:sub(1, begin - 1), text:sub(begin + 1)
end

-- The name of what is called with the table that is open at the cursor, if a field's name may stand there.
local function open_table(text)
  if not text:find "[{,]%s*$" then return nil end
  local depth = 0
  for at = #text, 1, -1 do
    local c = text:sub(at, at)
    if c:find "[%)%}%]]" then depth = depth + 1 end
    if c:find "[%(%{%[]" then
      if depth == 0 then return c == "{" and text:sub(1, at - 1):match "([%a_][%w_%.]*)%s*%(?%s*$" or nil end
      depth = depth - 1
    end
  end
end

-- --- candidates ---

local function chosen(from, prefix, names, looked_up)
  local list, seen, more = {}, {}, false
  for _, name in ipairs(names) do
    if name:sub(1, #prefix) == prefix and not seen[name] then
      seen[name] = true
      list[#list + 1] = name
    end
  end
  if not looked_up then table.sort(list) end
  if looked_up then more = #list >= LOOKED_UP_MAX end
  while #list > CANDIDATES_MAX do
    more = true
    list[#list] = nil
  end
  return from, list, more
end

local function methods_of(kind)
  local names = {}
  for name in pairs(reference.by_name) do
    local of, method = name:match "^(.-):(.*)$"
    if of == kind then names[#names + 1] = method end
    if kind == "string" and name:find "^string%." then names[#names + 1] = name:sub(8) end
  end
  return names
end

local function functions_in(value)
  local names = {}
  for _, name in ipairs(host.names(value)) do
    if host.kind(host.field(value, name)) == "function" then names[#names + 1] = name end
  end
  return names
end

local function fields_of(name)
  local value = value_of(name)
  local message = value ~= nil and host.message(value)
  local names = {}
  if message then
    for _, field in ipairs(message.fields) do names[#names + 1] = field.name end
  else
    local entry = reference.by_name[name]
    for _, field in ipairs(entry and entry.fields or {}) do names[#names + 1] = field end
  end
  return names
end

-- Inside a text: ids of streams, keys of documents, names of indexes, types of events.
local function texts_for(before, prefix)
  local call = before:gsub("%s*%(?%s*$", "")
  local object, method = call:match "^(.*):([%a_][%w_]*)$"
  if object then
    local kind, value = kind_of(object)
    if kind == "view" and value and method == "get" then return host.keys(value, prefix, LOOKED_UP_MAX), true end
    if kind == "view" and value and method == "range" then return host.indexes(value), false end
    return {}, false
  end
  if before:find "type%s*=%s*$" then return host.types(), false end
  if before:find "context%s*=%s*$" then return host.names(host.global "contexts"), false end
  local value = value_of(call)
  local kind = value ~= nil and host.kind(value)
  if kind == "aggregate" then return host.ids(value, prefix, LOOKED_UP_MAX), true end
  if kind == "view" then return host.keys(value, prefix, LOOKED_UP_MAX), true end
  return {}, false
end

-- Returns the offset (from 0) at which the word begins, its candidates, and whether there are more.
function ask.complete(whole)
  local skipped = #whole > LOOKED_AT and #whole - LOOKED_AT or 0
  local text = whole:sub(skipped + 1)
  local before, prefix, comment = inside_text(text)
  if comment then return #whole, {}, false end
  if before then
    local names, looked_up = texts_for(before, prefix)
    return chosen(#whole - #prefix, prefix, names, looked_up)
  end
  prefix = text:match "[%a_][%w_]*$" or ""
  before = text:sub(1, #text - #prefix)
  local from = #whole - #prefix
  local separator = before:sub(-1)
  if before:find "%.%.$" or before:find "::$" then separator = "" end
  if separator == "." or separator == ":" then
    local kind, value = kind_of(before:sub(1, -2):gsub("%s+$", ""), nil)
    local names = {}
    if separator == ":" then
      names = methods_of(kind)
      if value ~= nil then for _, name in ipairs(functions_in(value)) do names[#names + 1] = name end end
    elseif value ~= nil then
      names = host.names(value)
    elseif kind == "stream" then
      names = { "position", "state", "stream", "version" }
    end
    return chosen(from, prefix, names)
  end
  local called = open_table(before)
  local names = called and fields_of(called) or {}
  if #names > 0 then return chosen(from, prefix, names) end
  if prefix == "" and not before:find "^%s*$" then return #whole, {}, false end
  names = host.globals()
  for _, word in ipairs(KEYWORDS) do names[#names + 1] = word end
  names[#names + 1] = "it"
  return chosen(from, prefix, names)
end

-- --- help ---

local function entry_text(entry)
  local text = entry.name .. entry.args .. "\n  " .. entry.text .. "\n"
  if entry.fields then text = text .. "  fields: " .. table.concat(entry.fields, ", ") .. "\n" end
  if entry.example then text = text .. "  > " .. entry.example .. "\n" end
  return text
end

local function overview()
  local lines = {}
  local width = 0
  for _, group in ipairs(reference.groups) do
    for _, entry in ipairs(group.entries) do
      local size = utf8.len(entry.name .. entry.args)
      if size > width and size <= 36 then width = size end
    end
  end
  for _, group in ipairs(reference.groups) do
    lines[#lines + 1] = group.title
    for _, entry in ipairs(group.entries) do
      local left = entry.name .. entry.args
      lines[#lines + 1] = "  " .. left .. (" "):rep(width - utf8.len(left)) .. "  " .. entry.text
    end
    lines[#lines + 1] = ""
  end
  lines[#lines + 1] = "help on a name: of those above, a context, CONTEXT.AGGREGATE, a message or a view."
  return table.concat(lines, "\n") .. "\n"
end

local function message_text(message)
  local fields = {}
  for _, field in ipairs(message.fields) do fields[#fields + 1] = field.name .. ": " .. field.type end
  return ("%s { %s }\n  %s %s.\n"):format(message.name, table.concat(fields, ", "),
    message.event and "an event of" or "a command of", message.context)
end

local function names_text(title, value)
  local names = host.names(value)
  table.sort(names)
  return title .. ": " .. table.concat(names, ", ") .. "\n"
end

-- What the scripts declare under a name, or nil.
local function declared_text(name)
  local value = value_of(name)
  if value == nil then return nil end
  local kind, message = host.kind(value), host.message(value)
  if message then return message_text(message) end
  if kind == "aggregate" then
    return ("%s(id)\n  a stream of this aggregate: { stream, version, position, state }\n"):format(name)
      .. entry_text(reference.by_name["stream:at"])
  elseif kind == "view" then
    local indexes = table.concat(host.indexes(value), ", ")
    return ("%s(key)\n  one document; also :get(key), :range(index, min, max), :all(), :count()\n  indexes: %s\n")
      :format(name, indexes ~= "" and indexes or "none")
  elseif kind == "context" or kind == "table" then
    return names_text(name, value)
  end
end

-- The text for a name, or nil and the nearest name there is ("": none).
function ask.help(name)
  if name == "" then return overview() end
  local entry = reference.by_name[name]
  if entry then return entry_text(entry) end
  local text = declared_text(name)
  if text then return text end
  local group = {}
  for _, each in ipairs(sorted_keys(reference.by_name)) do
    if each:match "[^%.:]*$" == name then group[#group + 1] = entry_text(reference.by_name[each]) end
  end
  if #group > 0 then return table.concat(group) end
  local names = sorted_keys(reference.by_name)
  for _, each in ipairs(host.globals()) do names[#names + 1] = each end
  return nil, host.nearest(name, names) or ""
end

return ask
