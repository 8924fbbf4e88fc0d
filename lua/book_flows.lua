-- book_flows.lua: who gives what to whom. Adds book.flows, a list of { kind, block, trigger, message, target, found = { source = true,
-- … } }:
--   handles   block takes message (a command, or an event that it listens to)                          found: declared
--   gives     an aggregate decides, a service or task publishes, an import records the event `message`  found: source, specs, log
--   sends     block sends the command `message` to the block `target`                                   found: source, specs, log
--   reads     block looks into the projection `target`                                                  found: source
-- trigger is the message in whose handler that happens; nil in a task and an import. With counts of a hub, flows have `count`.
--
-- What is found in the source: a handler's function, the functions of its file that it names, lines outside of functions that share a
-- local with it, and modules that it names are read as tokens; the messages they name are what it may give or send. A script reaches a
-- message by its name only, so none is missed that way, while a flow may be shown that never happens: found tells what specs and the log
-- of a hub have seen of it.
local book = require "lore.book"
local counts = require "lore.book_counts"
local flows, by_key = {}, {}
book.flows = flows

local function add(found, kind, block, trigger, message, target)
  local key = table.concat({ kind, block.id, trigger and trigger.full or "", message and message.full or "",
    target and target.id or "" }, "\0")
  local flow = by_key[key]
  if not flow then
    flow = { kind = kind, block = block, trigger = trigger, message = message, target = target, found = {} }
    by_key[key] = flow
    flows[#flows + 1] = flow
  end
  flow.found[found] = true
  return flow
end

-- --- functions of a file ---

local OPENS = { ["function"] = true, ["if"] = true, ["do"] = true, ["repeat"] = true }

-- The parts of what a function is called: { "bill", "execute", "CreateBill" }, read behind or before the word function.
local function name_of(tokens, at)
  local parts, next_token = {}, tokens[at + 1]
  if next_token and next_token.kind == "name" then
    local i = at + 1
    repeat
      parts[#parts + 1] = tokens[i].text
      i = i + 2
    until not (tokens[i - 1] and (tokens[i - 1].text == "." or tokens[i - 1].text == ":") and tokens[i] and tokens[i].kind == "name")
  elseif tokens[at - 1] and tokens[at - 1].text == "=" then
    local i = at - 2
    while tokens[i] do
      if tokens[i].text == "]" and tokens[i - 2] and tokens[i - 2].text == "[" then
        table.insert(parts, 1, tokens[i - 1].text)
        i = i - 3
      elseif tokens[i].kind == "name" then
        table.insert(parts, 1, tokens[i].text)
        if not (tokens[i - 1] and tokens[i - 1].text == ".") then break end
        i = i - 2
      else
        break
      end
    end
  end
  return parts
end

local function functions_of(file)
  local found, open = {}, {}
  for at, token in ipairs(file.tokens) do
    if token.kind == "keyword" then
      if OPENS[token.text] then
        open[#open + 1] = { at = at, is_function = token.text == "function" }
      elseif token.text == "end" or token.text == "until" then
        local begun = table.remove(open)
        if begun and begun.is_function then
          local parts = name_of(file.tokens, begun.at)
          found[#found + 1] = { first = begun.at, last = at, line = file.tokens[begun.at].line, name = parts[#parts],
            is_handler = ({ apply = true, execute = true, when = true })[parts[#parts - 1]] or #parts > 1 and parts[#parts] == "run" }
        end
      end
    end
  end
  return found
end

-- --- what a run of tokens names ---

-- Names inside the parentheses that open at a token.
local function names_inside(tokens, at)
  local names, depth = {}, 0
  for i = at, #tokens do
    local text = tokens[i].kind == "operator" and tokens[i].text
    if text == "(" or text == "{" then depth = depth + 1 end
    if text == ")" or text == "}" then depth = depth - 1 end
    if tokens[i].kind == "name" then names[#names + 1] = tokens[i].text end
    if depth == 0 then break end
  end
  return names
end

local function new_summary() return { names = {}, calls = {}, posts = {}, views = {} } end

-- Adds to summary what the tokens first to last name: names, calls (with those behind a dot), send and record with their targets, views.
local function scan(tokens, first, last, skip, summary)
  local at = first
  while at <= last do
    local token, before, after = tokens[at], tokens[at - 1], tokens[at + 1]
    if skip and skip[at] then
      at = skip[at]
    elseif token.kind == "name" then
      local dotted = before and (before.text == "." or before.text == ":") and before.kind == "operator"
      local is_key = after and after.text == "=" and before and (before.text == "{" or before.text == ",")
      summary.calls[token.text] = true
      if not dotted and not is_key then
        summary.names[token.text] = true
        local field = after and after.text == "." and tokens[at + 2]
        if field and (token.text == "send" or token.text == "record") then
          summary.posts[#summary.posts + 1] = { word = token.text, target = field.text,
            names = tokens[at + 3] and tokens[at + 3].text == "(" and names_inside(tokens, at + 3) or {} }
        elseif field and token.text == "views" then
          summary.views[field.text] = true
        end
      end
    end
    at = at + 1
  end
end

local DECLARING = { aggregate = true, projection = true, receptor = true, service = true, task = true }

-- Of code outside of functions: the locals of the file, but for what it declares, and its lines, each with the locals that it names.
-- What a line does is seen by those functions that name one of its locals.
local function add_file_level(file, skip)
  local tokens, locals, at = file.tokens, {}, 1
  for index, token in ipairs(tokens) do
    if token.text == "local" and token.kind == "keyword" then
      local name = tokens[index + 1].text == "function" and index + 2 or index + 1
      local value = tokens[name + 2]
      if not (value and DECLARING[value.text] and value.kind == "name") then locals[tokens[name].text] = true end
      while tokens[name + 1] and tokens[name + 1].text == "," and tokens[name + 2] do
        name = name + 2
        locals[tokens[name].text] = true
      end
    end
  end
  file.level = {}
  while at <= #tokens do
    local last, depth = at, 0
    repeat
      local token = tokens[last]
      if token.kind == "operator" then
        depth = depth + (token.text:find "^[%({%[]$" and 1 or token.text:find "^[%)}%]]$" and -1 or 0)
      end
      last = (skip[last] or last) + 1
    until last > #tokens or (depth <= 0 and tokens[last].line > tokens[last - 1].line)
    local part = { summary = new_summary(), shares = {} }
    scan(tokens, at, last - 1, skip, part.summary)
    for name in pairs(part.summary.calls) do part.shares[name] = locals[name] end
    file.level[#file.level + 1] = part
    at = last
  end
end

local function prepare(file)
  if file.functions then return end
  file.functions = functions_of(file)
  local skip = {} -- of the file-level code: whole functions, and the names that modules are given
  for _, each in ipairs(file.functions) do skip[each.first] = each.last end
  file.requires = {}
  for at, token in ipairs(file.tokens) do
    if token.text == "require" and token.kind == "name" then
      local given = file.tokens[at + 1]
      if given and given.text == "(" then given = file.tokens[at + 2] end
      local name = given and given.kind == "string" and given.text:gsub("%.", "/")
      local module = name and (book.file((file.context or "") .. "/" .. name .. ".lua") or book.file(name .. ".lua"))
      local bound = file.tokens[at - 2]
      if module and bound and bound.kind == "name" then
        table.insert(file.requires, { name = bound.text, module = module })
        skip[at - 2] = at
      elseif module then
        table.insert(file.requires, { name = "require", module = module })
      end
    end
  end
  add_file_level(file, skip)
end

local function shares(part, calls)
  for name in pairs(part.shares) do
    if calls[name] then return true end
  end
  return false
end

-- Everything that what begins with a list of functions can name; whole: and with all of the file. visited: what was read.
local function reach(file, functions, summary, visited, whole)
  prepare(file)
  local function merge(part)
    for name in pairs(part.names) do summary.names[name] = true end
    for name in pairs(part.views) do summary.views[name] = true end
    for _, post in ipairs(part.posts) do summary.posts[#summary.posts + 1] = post end
    for _, each in ipairs(file.functions) do
      if part.calls[each.name] and not each.is_handler and not visited[each] then reach(file, { each }, summary, visited) end
    end
    for _, each in ipairs(file.level) do
      if not visited[each] and (whole or shares(each, part.calls)) then
        visited[each] = true
        merge(each.summary)
      end
    end
    for _, each in ipairs(file.requires) do
      local module = each.module
      if part.calls[each.name] and not visited[module] then
        visited[module] = true
        prepare(module)
        reach(module, module.functions, summary, visited, true)
      end
    end
  end
  if whole then merge(new_summary()) end
  for _, each in ipairs(functions) do
    if not visited[each] then
      visited[each] = true
      local part = new_summary()
      scan(file.tokens, each.first, each.last, nil, part)
      merge(part)
    end
  end
  return summary
end

-- The functions that begin in a line.
local function functions_at(path, line)
  local file, found = book.file(path), {}
  if not file then return nil, found end
  prepare(file)
  for _, each in ipairs(file.functions) do
    if each.line == line then found[#found + 1] = each end
  end
  return file, found
end

-- --- from names to flows ---

local function target_of(context, name)
  return book.block("aggregate", context .. "/" .. name) or book.block("service", context .. "/" .. name)
end

local takers = {} -- command -> blocks

local function messages_named(context, names, is_event)
  local found = {}
  for _, name in ipairs(book.sorted(names)) do
    local message = book.message(context, name)
    if message and message.is_event == is_event then found[#found + 1] = message end
  end
  return found
end

-- Commands that stand inside send.NAME(…) go there; others go to those named targets that take them, or else to all that do.
local function add_sends(block, trigger, summary)
  local placed, targets = {}, {}
  for _, post in ipairs(summary.posts) do
    local target = target_of(block.context, post.target)
    if target and post.word == "send" then
      targets[target] = true
      for _, name in ipairs(post.names) do
        local command = book.message(block.context, name)
        if command and not command.is_event then
          placed[command] = true
          add("source", "sends", block, trigger, command, target)
        end
      end
    end
  end
  for _, command in ipairs(messages_named(block.context, summary.names, false)) do
    if not placed[command] then
      local all, named = takers[command] or {}, {}
      for _, taker in ipairs(all) do
        if targets[taker] then named[#named + 1] = taker end
      end
      for _, taker in ipairs(#named > 0 and named or all) do add("source", "sends", block, trigger, command, taker) end
    end
  end
end

local function add_given(block, trigger, summary)
  for _, event in ipairs(messages_named(block.context, summary.names, true)) do add("source", "gives", block, trigger, event) end
end

local function add_reads(block, summary)
  for _, name in ipairs(book.sorted(summary.views)) do
    local view = book.block("projection", block.context .. "/" .. name)
    if view then add("source", "reads", block, nil, nil, view) end
  end
end

local function add_of_handler(block, trigger, path, line)
  local file, functions = functions_at(path, line)
  if not file then return end
  local summary = reach(file, functions, new_summary(), {})
  if block.kind ~= "receptor" then add_given(block, trigger, summary) end
  if block.kind == "receptor" or (block.kind ~= "aggregate" and summary.names.send) then add_sends(block, trigger, summary) end
  add_reads(block, summary)
end

local function add_of_import(block)
  local file = book.file(block.path)
  prepare(file)
  local summary = reach(file, file.functions, new_summary(), {}, true)
  add_sends(block, nil, summary)
  for _, event in ipairs(messages_named(block.context, summary.names, true)) do add("source", "gives", block, nil, event) end
end

-- --- specs ---

local function add_of_scenario(scenario)
  local block = scenario.block
  if not block or not scenario.expect then return end
  local steps = block.kind == "receptor" and scenario.given or scenario.when
  local trigger = #steps == 1 and book.message(steps[1].context, steps[1].name) or nil
  if not trigger and block.kind ~= "task" then return end -- which of several did it is not told
  for _, item in ipairs(scenario.expect) do
    if item.to and not item.cancel then
      local target, command = target_of(block.context, item.to), book.message(block.context, item.name)
      if target and command then add("specs", "sends", block, trigger, command, target) end
    elseif not item.to then
      local event = book.message(item.context, item.name)
      if event then add("specs", "gives", block, trigger, event) end
    end
  end
end

-- --- all of it ---

for _, block in ipairs(book.blocks) do
  for _, handler in ipairs(block.handlers) do
    add("declared", "handles", block, nil, handler.message)
    if not handler.message.is_event then
      takers[handler.message] = takers[handler.message] or {}
      table.insert(takers[handler.message], block)
    end
  end
end
for _, block in ipairs(book.blocks) do
  if block.kind == "import" then
    add_of_import(block)
  elseif block.kind == "task" then
    add_of_handler(block, nil, block.run.path, block.run.line)
  elseif block.kind ~= "projection" then
    for _, handler in ipairs(block.handlers) do add_of_handler(block, handler.message, handler.path, handler.line) end
  end
end
for _, behaviour in ipairs(book.behaviours) do
  if behaviour.status == "success" then
    for _, scenario in ipairs(behaviour.scenarios) do add_of_scenario(scenario) end
  end
end
for _, line in ipairs(book.options.counts or {}) do
  counts.sent(line, add, function(block, trigger, event)
    return by_key[table.concat({ "gives", block.id, trigger.full, event.full, "" }, "\0")]
  end)
end

-- Both ways: what a message meets, what a block does.
for _, message in ipairs(book.messages) do message.takers, message.givers, message.senders = {}, {}, {} end
for _, block in ipairs(book.blocks) do block.gives, block.sends, block.reads, block.read_by = {}, {}, {}, {} end
local LISTS = { handles = "takers", gives = "givers", sends = "senders" }
for _, flow in ipairs(flows) do
  if flow.message then table.insert(flow.message[LISTS[flow.kind]], flow) end
  if flow.kind ~= "handles" then table.insert(flow.block[flow.kind], flow) end
  if flow.kind == "reads" then table.insert(flow.target.read_by, flow) end
end

-- The blocks of a list of flows, each once.
function book.blocks_of(list)
  local found, seen = {}, {}
  for _, flow in ipairs(list) do
    if not seen[flow.block] then
      seen[flow.block] = true
      found[#found + 1] = flow.block
    end
  end
  return found
end

-- Whose events they are: those that give it, or of an event that nobody is seen to give the aggregates that apply it.
function book.publishers(event)
  local found = book.blocks_of(event.givers)
  if #found > 0 then return found end
  for _, block in ipairs(book.context(event.context).blocks) do
    for _, name in ipairs(block.kind == "aggregate" and block.events or {}) do
      if name == event.name then found[#found + 1] = block end
    end
  end
  return found
end

if book.options.counts then counts.given() end

return book
