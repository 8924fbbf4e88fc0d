-- contracts.lua: the grammar of `contracts [[ … ]]`, and the expansion of lets.
--
--   declaration = "let" name "=" ( "(" fields ")" | type )
--               | Name "?" [ "(" fields ")" ]                  a command
--               | Name "!" [ version ] [ "(" fields ")" ]      an event
--   fields      = [ field { "," field } [ "," ] ]
--   field       = name                                         a let: its fields come here
--               | name ":" [ "pii" ] type [ "?" ]
--   type        = ( "string" | … | "any" | let | "{" "string" ":" type "}" ) { "[" "]" }
--
-- Parsing and expansion are two steps, since a let may stand below its use and in another file of the context. An error skips to the
-- next declaration, so that one mistake hides no other.
--
--   local set = contracts.new(context, report, nearest)   report(path, line, message); nearest(name, names) gives a name or nil
--   contracts.parse(set, path, line, text)                 for every text of the context
--   for _, message in ipairs(contracts.expand(set)) do … end
--
-- A message: { context, name, event, version, path, line, canonical, type = { kind = "record", fields = { {
-- name, type, optional, pii }, … } } }; kinds are those of contract.h in small letters; lists and maps have an item.

local _, modules = ...
local sorted_keys = modules.sorted_keys

local contracts = {}

local NAME_SIZE_MAX = 63
local VERSION_MAX = 999      -- each older version needs its upcaster
local EXPANDED_SIZE_MAX = 2000 -- fields of one message with all that nests in it: lets of lets can double at every step
local BUILTIN = { string = true, integer = true, number = true, boolean = true, time = true, decimal = true, any = true }
local BUILTIN_NAMES = { "string", "integer", "number", "boolean", "time", "decimal", "any" }

function contracts.new(context, report, nearest)
  return { context = context, report = report, nearest = nearest, lets = {}, messages = {}, order = {}, broken = false }
end

-- --- tokens ---

local function lex(set, path, first_line, text)
  local tokens, at, line, line_start = {}, 1, first_line, true
  while true do
    local space = text:match("^[ \t\r\v\f]*", at)
    at = at + #space
    local char = text:sub(at, at)
    if char == "" then break end
    if char == "\n" then
      line, at, line_start = line + 1, at + 1, true
    elseif text:sub(at, at + 1) == "--" then
      at = text:find("\n", at, true) or #text + 1
    else
      local word = text:match("^[%a_][%w_]*", at)
      local kind = word and "name"
      if not word then
        word = text:match("^%d[%w_.]*", at)
        kind = word and "number"
      end
      if not word and text:find("^[=(),:?!%[%]{}]", at) then word, kind = char, "mark" end
      if not word then
        word = text:match("^[\0-\127\194-\244][\128-\191]*", at) or char
        set.broken = true
        set.report(path, line, ("contracts: unexpected character %q"):format(word))
      else
        tokens[#tokens + 1] = { kind = kind, text = word, line = line, first = line_start }
      end
      at, line_start = at + #word, false
    end
  end
  tokens[#tokens + 1] = { kind = "end", text = "", line = line, first = true }
  return tokens
end

local function shown(token)
  if token.kind == "end" then return "the end of the contracts" end
  return ('"%s"'):format(token.text)
end

-- --- the parser: an error is a table thrown to contracts.parse ---

local function fail(token, format, ...) error({ line = token.line, text = format:format(...) }, 0) end

local function peek(parser) return parser.tokens[parser.at] end

local function take(parser)
  local token = parser.tokens[parser.at]
  if token.kind ~= "end" then parser.at = parser.at + 1 end
  return token
end

local function accept(parser, text)
  local token = peek(parser)
  if token.kind ~= "end" and token.text == text then return take(parser) end
end

local function expect(parser, text, after)
  local token = peek(parser)
  if not accept(parser, text) then fail(token, 'expected "%s" %s, got %s', text, after, shown(token)) end
  return token
end

local function check_size(token)
  if #token.text > NAME_SIZE_MAX then fail(token, '"%s…": names have at most %d characters', token.text:sub(1, 20), NAME_SIZE_MAX) end
end

local function is_field_name(text) return text:find("^%l[%l%d_]*$") ~= nil end
local function is_message_name(text) return text:find("^%u[%a%d]*$") ~= nil end

local function base_type(parser, after)
  local token = peek(parser)
  if accept(parser, "{") then
    local key = take(parser)
    if key.text ~= "string" then fail(key, 'expected "string" after "{", got %s: the keys of a map are strings', shown(key)) end
    expect(parser, ":", 'after "{string"')
    local item = contracts.type(parser, 'after ":"')
    if peek(parser).text == "?" then fail(peek(parser), '"?" belongs to a field: what is in a map is there') end
    expect(parser, "}", "at the end of a map")
    return { kind = "map", item = item, line = token.line }
  end
  if token.kind ~= "name" or not is_field_name(token.text) then fail(token, "expected a type %s, got %s", after, shown(token)) end
  take(parser)
  if BUILTIN[token.text] then return { kind = token.text } end
  return { kind = "let", name = token.text, line = token.line }
end

function contracts.type(parser, after)
  parser.depth = parser.depth + 1
  if parser.depth > 20 then fail(peek(parser), "a type nests too deeply") end
  local type = base_type(parser, after)
  while accept(parser, "[") do
    expect(parser, "]", 'after "["')
    type = { kind = "list", item = type }
    if peek(parser).text == "?" and parser.tokens[parser.at + 1].text == "[" then
      fail(peek(parser), '"?" belongs to a field: what is in a list is there')
    end
  end
  if peek(parser).text == "?" and parser.tokens[parser.at + 1].text == "[" then
    fail(peek(parser), '"?" belongs to a field: what is in a list is there')
  end
  parser.depth = parser.depth - 1
  return type
end

local function field(parser)
  local name = peek(parser)
  if name.kind ~= "name" then fail(name, "expected a field name, got %s", shown(name)) end
  if not is_field_name(name.text) then
    fail(name, 'expected a field name in small letters, digits and _, got "%s"', name.text)
  end
  check_size(name)
  take(parser)
  if not accept(parser, ":") then
    if peek(parser).text ~= "," and peek(parser).text ~= ")" then
      fail(peek(parser), 'expected ":" and a type after "%s", got %s', name.text, shown(peek(parser)))
    end
    return { inline = name.text, line = name.line, path = parser.path }
  end
  local after, pii = 'after ":"', false
  local following = parser.tokens[parser.at + 1]
  if peek(parser).text == "pii" and (following.kind == "name" or following.text == "{") then
    pii, after = accept(parser, "pii") ~= nil, 'after "pii"'
  end
  local type = contracts.type(parser, after)
  local optional = accept(parser, "?") ~= nil
  return { name = name.text, type = type, pii = pii, optional = optional, line = name.line, path = parser.path }
end

-- Behind "(".
local function fields(parser)
  local list = {}
  while not accept(parser, ")") do
    list[#list + 1] = field(parser)
    if not accept(parser, ",") then
      local token = peek(parser)
      if token.text ~= ")" then fail(token, 'expected "," or ")" after a field, got %s', shown(token)) end
    end
  end
  return list
end

local function let(parser)
  local set, name = parser.set, take(parser)
  if name.kind ~= "name" or not is_field_name(name.text) then
    fail(name, 'expected a name in small letters after "let", got %s', shown(name))
  end
  check_size(name)
  if BUILTIN[name.text] or name.text == "let" or name.text == "pii" then
    fail(name, 'let %s: the name is taken by the grammar', name.text)
  end
  expect(parser, "=", ('after "let %s"'):format(name.text))
  local made = { line = name.line, path = parser.path }
  if accept(parser, "(") then
    made.fields = fields(parser)
  else
    made.type = contracts.type(parser, 'or "(" after "="')
    if peek(parser).text == "?" then fail(peek(parser), '"?" belongs to a field, not to a let') end
  end
  local first = set.lets[name.text]
  if first then fail(name, "let %s: declared twice, first at %s:%d", name.text, first.path, first.line) end
  set.lets[name.text] = made
end

local function version(parser, name)
  local token = peek(parser)
  if token.kind ~= "number" then return 1 end
  take(parser)
  local number = math.tointeger(token.text:find("^%d+$") and tonumber(token.text))
  if not number or number < 1 or number > VERSION_MAX then
    fail(token, "%s!%s: a version is a whole number from 1 to %d", name.text, token.text, VERSION_MAX)
  end
  return number
end

local function message(parser)
  local set, name = parser.set, take(parser)
  local mark = peek(parser)
  if mark.text ~= "?" and mark.text ~= "!" then
    if name.text == "" or name.kind ~= "name" then
      fail(name, 'expected a declaration (let …, Name? or Name!), got %s', shown(name))
    end
    fail(mark, 'expected "?" (a command) or "!" (an event) after "%s", got %s', name.text, shown(mark))
  end
  if name.kind ~= "name" or not is_message_name(name.text) then
    fail(name, 'expected a message name, a capital then letters and digits, got %s', shown(name))
  end
  check_size(name)
  take(parser)
  local made = { name = name.text, event = mark.text == "!", version = 1, line = name.line, path = parser.path, fields = {} }
  if made.event then
    made.version = version(parser, name)
  elseif peek(parser).kind == "number" then
    fail(peek(parser), "%s?%s: a command has no versions", name.text, peek(parser).text)
  end
  -- Known from here on, even if its fields are wrong: a handler for it is no second mistake.
  local first = set.messages[name.text]
  if first then fail(name, "%s: declared twice, first at %s:%d", name.text, first.path, first.line) end
  set.messages[name.text] = made
  set.order[#set.order + 1] = made
  if accept(parser, "(") then made.fields = fields(parser) end
  if not peek(parser).first then
    fail(peek(parser), "expected a new line after %s, got %s", name.text, shown(peek(parser)))
  end
end

-- To the next token that begins a line and may begin a declaration.
local function recover(parser)
  while true do
    local token = peek(parser)
    if token.kind == "end" then return end
    local following = parser.tokens[parser.at + 1]
    if token.first and (token.text == "let" or (token.kind == "name" and (following.text == "?" or following.text == "!"))) then
      return
    end
    take(parser)
  end
end

-- line: of the script, where the text's first character stands.
function contracts.parse(set, path, line, text)
  local parser = { set = set, path = path, tokens = lex(set, path, line, text), at = 1 }
  while peek(parser).kind ~= "end" do
    local before = parser.at
    parser.depth = 0
    local ok, problem = pcall(function()
      if accept(parser, "let") then let(parser) else message(parser) end
    end)
    if not ok then
      if type(problem) ~= "table" then error(problem, 0) end
      set.broken = true
      set.report(path, problem.line, problem.text)
      if parser.at == before then take(parser) end
      recover(parser)
    end
  end
end

-- --- expansion ---

local function problem(set, at, format, ...)
  set.broken = true
  set.report(at.path, at.line, format:format(...))
end

local function unknown_let(set, at, name, what)
  local names = sorted_keys(set.lets)
  if what == "type" then table.move(BUILTIN_NAMES, 1, #BUILTIN_NAMES, #names + 1, names) end
  local near = set.nearest(name, names)
  problem(set, at, what == "type" and 'unknown type "%s"%s' or 'no let "%s", whose fields could come here%s', name,
    near and (": did you mean %s?"):format(near) or "")
end

local ANY = { kind = "any", size = 1, canonical = "any" } -- in place of what is wrong: already reported

local expand_fields

-- Marks lets that are being expanded: meeting one again is recursion.
local function enter(set, at, name)
  local found = set.lets[name]
  if found.open then
    if not found.recursive then
      found.recursive = true
      problem(set, at, "let %s contains itself", name)
    end
    return nil
  end
  found.open = true
  return found
end

local function expand_type(set, at, type)
  if type.kind == "list" or type.kind == "map" then
    local item = expand_type(set, at, type.item)
    local form = type.kind == "list" and "%s[]" or "{string:%s}"
    return { kind = type.kind, item = item, size = item.size + 1, canonical = form:format(item.canonical) }
  end
  if type.kind ~= "let" then return { kind = type.kind, size = 1, canonical = type.kind } end
  if not set.lets[type.name] then
    unknown_let(set, { path = at.path, line = type.line }, type.name, "type")
    return ANY
  end
  local found = set.lets[type.name]
  if found.expanded then return found.expanded end
  if not enter(set, at, type.name) then return ANY end
  local expanded = found.type and expand_type(set, found, found.type) or expand_fields(set, found.fields)
  found.open, found.expanded = false, expanded
  return expanded
end

-- Appends to list; seen: name -> true.
local function add_fields(set, fields_given, list, seen)
  for _, given in ipairs(fields_given) do
    if given.inline then
      local found = set.lets[given.inline]
      if not found then
        unknown_let(set, given, given.inline, "let")
      elseif not found.fields then
        problem(set, given, "%s is a type, no group of fields: write %s: %s", given.inline, given.inline, given.inline)
      elseif enter(set, given, given.inline) then
        local inner = {}
        for _, field_given in ipairs(found.fields) do
          local copy = {}
          for key, value in pairs(field_given) do copy[key] = value end
          copy.used = given.used or given
          inner[#inner + 1] = copy
        end
        add_fields(set, inner, list, seen)
        found.open = false
      end
    elseif seen[given.name] then
      problem(set, given.used or given, "field %s: declared twice", given.name)
    elseif #list >= EXPANDED_SIZE_MAX then
      return
    else
      seen[given.name] = true
      local type = expand_type(set, given, given.type)
      local base = type
      while base.item do base = base.item end
      if given.pii and base.kind ~= "string" and base ~= ANY then
        problem(set, given, "field %s: pii marks strings, got %s", given.name, base.kind)
      end
      list[#list + 1] = { name = given.name, type = type, optional = given.optional, pii = given.pii }
    end
  end
end

-- A record. Its canonical form is sorted by name: the order of fields means nothing.
function expand_fields(set, fields_given)
  local list, seen, texts, size = {}, {}, {}, 1
  add_fields(set, fields_given, list, seen)
  for index, made in ipairs(list) do
    size = math.min(size + made.type.size, EXPANDED_SIZE_MAX + 1)
    -- Above the limit it is refused anyway, and its text could be endless.
    local canonical = size > EXPANDED_SIZE_MAX and "" or made.type.canonical
    texts[index] = ("%s:%s%s%s"):format(made.name, made.pii and "pii " or "", canonical, made.optional and "?" or "")
  end
  table.sort(texts)
  return { kind = "record", fields = list, size = size, canonical = "(" .. table.concat(texts, ",") .. ")" }
end

-- All messages of the set, sorted by name.
function contracts.expand(set)
  for _, name in ipairs(sorted_keys(set.lets)) do
    expand_type(set, set.lets[name], { kind = "let", name = name, line = set.lets[name].line })
  end
  local messages = {}
  for _, made in ipairs(set.order) do
    local record = expand_fields(set, made.fields)
    if record.size > EXPANDED_SIZE_MAX then
      problem(set, made, "%s: more than %d fields with all that nests in it", made.name, EXPANDED_SIZE_MAX)
      record = { kind = "record", fields = {}, size = 1, canonical = "()" }
    end
    messages[#messages + 1] = {
      context = set.context, name = made.name, event = made.event, version = made.version, path = made.path, line = made.line,
      type = record, canonical = ("%s%s%d%s"):format(made.name, made.event and "!" or "?", made.version, record.canonical),
    }
  end
  table.sort(messages, function(a, b) return a.name < b.name end)
  return messages
end

return contracts
