-- book.lua: what a scripts folder declares, with the comments written above it, where it stands, what flows between and how it behaves:
-- the model that all programs which write about scripts read (docs, map, openapi, asyncapi, types). Run by core/vm/scribe.c.
--
--   book.title, book.options      of the job
--   book.contexts                 a list of { name, comment, messages, blocks, files, behaviours }
--   book.messages                 { context, name, full = "billing.BillClosed", kind, version, fields, upcasters, path, line, comment,
-- group }
--   book.blocks                   { kind, context, name, full = "billing/bill", id = "aggregate billing/bill", path, line, comment,
-- handlers, … }
--   book.flows                    book_flows.lua
--   book.behaviours               one for each `it` of the specs: { context, file, line, title, status, message, scenarios }
local core = require "lore.core"
local clean = require "lore.clean_text"
local input = core.input()

local book = { title = input.title, scripts = input.scripts, options = input.options, contexts = {}, messages = {}, blocks = {}, files = {},
  behaviours = {} }
local contexts, messages, blocks, files = {}, {}, {}, {}

function book.context(name) return contexts[name] end
function book.message(context, name) return messages[context .. "." .. name] end
function book.block(kind, full) return blocks[kind .. " " .. full] end
function book.file(path) return files[path] end

function book.sorted(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

-- --- comments ---

local function lines_of(text)
  local lines = {}
  for line in (text:gsub("\r\n?", "\n") .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
  if lines[#lines] == "" then lines[#lines] = nil end
  return lines
end

-- The comment that ends in the line, as text, and the line above it; nil if it is none.
local function comment_ending(lines, last)
  local first = last
  if lines[last] and lines[last]:find "%]=*%]%s*$" and not lines[last]:find "^%s*%-%-[^%[]" then
    while first > 0 and not lines[first]:find "^%s*%-%-%[=*%[" do first = first - 1 end
    if first == 0 then return end
    local level, text = table.concat(lines, "\n", first, last):match "^%s*%-%-%[(=*)%[(.*)$"
    local close, behind = text:find("]" .. level .. "]", 1, true)
    if not close or text:find("%S", behind + 1) then return end -- it ends before: what ends here is a text
    return text:sub(1, close - 1), first - 1
  end
  while first > 0 and lines[first]:find "^%s*%-%-" do first = first - 1 end
  if first == last then return end
  local kept = {}
  for at = first + 1, last do kept[#kept + 1] = lines[at]:gsub("^%s*%-+ ?", "") end
  return table.concat(kept, "\n"), first
end

local function tidy(text)
  text = text and clean(text):gsub("^%s+", ""):gsub("%s+$", "")
  return text ~= "" and text or nil
end

-- The comment directly above a line of a file; "" if there is none.
local function comment_above(path, line)
  local file = files[path]
  return file and tidy((comment_ending(file.lines, line - 1))) or ""
end

-- The comment that a file begins with.
local function comment_of_file(file)
  local last = 0
  if file.lines[1] and file.lines[1]:find "^%s*%-%-%[=*%[" then
    last = 1
    while file.lines[last] and not file.lines[last]:find "%]=*%]" do last = last + 1 end
  else
    while file.lines[last + 1] and file.lines[last + 1]:find "^%s*%-%-" do last = last + 1 end
  end
  return last > 0 and tidy((comment_ending(file.lines, last))) or ""
end

-- --- files, contexts, messages ---

for _, source in ipairs(core.sources()) do
  local file = { path = source.path, context = source.context, kind = source.kind, text = source.text, lines = lines_of(source.text),
    tokens = core.tokens(source.text) }
  file.comment = comment_of_file(file)
  files[file.path] = file
  book.files[#book.files + 1] = file
end

for _, name in ipairs(input.description.contexts) do
  local context = { name = name, messages = {}, blocks = {}, files = {}, behaviours = {}, comment = "" }
  contexts[name] = context
  book.contexts[#book.contexts + 1] = context
end
for _, file in ipairs(book.files) do
  local context = contexts[file.context]
  if context then context.files[#context.files + 1] = file end
end

for _, message in ipairs(input.description.contracts) do
  message.full = message.context .. "." .. message.name
  message.is_event = message.kind == "event"
  message.comment = comment_above(message.path, message.line)
  local line = files[message.path] and files[message.path].lines[message.line] or ""
  message.remark = tidy(line:match "%-%-(.*)$")
  for _, upcaster in ipairs(message.upcasters or {}) do upcaster.comment = comment_above(upcaster.path, upcaster.line) end
  messages[message.full] = message
  book.messages[#book.messages + 1] = message
  local context = contexts[message.context]
  context.messages[#context.messages + 1] = message
end

-- In order of declaration; messages below one comment, without an empty line in between, are a group of that comment.
for _, context in ipairs(book.contexts) do
  table.sort(context.messages, function(a, b)
    if a.path ~= b.path then return a.path < b.path end
    return a.line ~= b.line and a.line < b.line or a.line == b.line and a.name < b.name
  end)
  local before
  for _, message in ipairs(context.messages) do
    local adjacent = before and before.path == message.path and message.line - before.line <= 1 and message.comment == ""
    message.group = adjacent and before.group or { comment = message.comment, first = message }
    message.group.count = (message.group.count or 0) + 1
    before = message
  end
  local first = context.messages[1]
  local file = files[context.name .. "/contracts.lua"] or first and files[first.path]
  context.comment = file and file.comment or ""
end

-- --- blocks ---

local kinds = { "aggregate", "projection", "receptor", "service", "task" }
book.kinds = { "aggregate", "projection", "receptor", "service", "task", "import" }

local function add_block(kind, block)
  block.kind, block.full = kind, block.name
  block.context, block.name = block.full:match "^([^/]*)/(.*)$"
  block.id = kind .. " " .. block.full
  block.comment = comment_above(block.path, block.line)
  block.handlers = block.handlers or {}
  for _, handler in ipairs(block.handlers) do
    handler.comment = comment_above(handler.path, handler.line)
    handler.message = messages[handler.context .. "." .. handler.message]
  end
  blocks[block.id] = block
  book.blocks[#book.blocks + 1] = block
  local context = contexts[block.context]
  context.blocks[#context.blocks + 1] = block
end

for _, kind in ipairs(kinds) do
  for _, block in ipairs(input.description[kind .. "s"]) do add_block(kind, block) end
end

-- The file's own comment is about the first thing that it declares.
local seen = {}
local in_order = table.move(book.blocks, 1, #book.blocks, 1, {})
table.sort(in_order, function(a, b) return a.path ~= b.path and a.path < b.path or a.path == b.path and a.line < b.line end)
for _, block in ipairs(in_order) do
  local file = files[block.path]
  if not seen[block.path] and block.comment == "" and file then block.comment = file.comment end
  seen[block.path] = true
end

-- Scripts of imports declare nothing: what they use tells that they are some.
for _, file in ipairs(book.files) do
  if file.kind == "on demand" and contexts[file.context] then
    for at, token in ipairs(file.tokens) do
      local next_token = file.tokens[at + 1]
      if token.kind == "name" and (token.text == "send" or token.text == "record") and next_token and next_token.text == "." then
        add_block("import", { name = clean(file.path):gsub("%.lua$", ""), path = file.path, line = 1 })
        book.blocks[#book.blocks].comment = file.comment
        break
      end
    end
  end
end

-- --- behaviours ---

for index, behaviour in ipairs(input.scenarios) do
  behaviour.context = behaviour.file:match "([^/]*)/[^/]*$" or ""
  behaviour.file = behaviour.file:match "([^/]*/[^/]*)$" or behaviour.file
  behaviour.anchor = "b" .. index
  behaviour.scenarios = behaviour.scenarios or {}
  book.behaviours[#book.behaviours + 1] = behaviour
  local context = contexts[behaviour.context]
  if context then context.behaviours[#context.behaviours + 1] = behaviour end
  for _, scenario in ipairs(behaviour.scenarios) do scenario.block = book.block(scenario.kind, scenario.name) end
end

return book
