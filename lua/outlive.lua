-- outlive.lua: nothing outlives a call. After all scripts have run: what do the functions that live on reach?
--
-- loader.lua calls reach, which reports what is wrong, and then, if nothing was, freeze.

local host, modules = ...
local sorted_keys = modules.sorted_keys
local outlive = {}

-- What a function does to locals around it is wrong if it lives on, and only then.
local OUTER = {
  assigns_file_local = "a handler assigns the file-level local '%s': nothing may outlive a call",
  changes_file_table = "a handler changes the file-level table '%s': nothing may outlive a call",
  assigns_upvalue = "a function that stays loaded assigns the local '%s' around it: nothing may outlive a call",
}

-- Takes a finding of inspect.c about a file of loader.lua; false if it is of another kind. Files loaded on demand are not walked.
function outlive.note(file, kind, name, line, function_line)
  local text = OUTER[kind] and OUTER[kind]:format(name)
  if not text then return false end
  if file.kind == "on_demand" then
    host.report(file.path, line, text)
  else
    local key = function_line .. ":" .. name
    file.outer[key] = file.outer[key] or {}
    table.insert(file.outer[key], { line = line, text = text })
  end
  return true
end

-- What functions that live on can reach: their upvalues, and all that hangs on those. Tables are frozen. A local of a function
-- around them that they assign would be state too, and so is the place of an iterator that was begun while loading: errors.
local own, files -- as outlive.reach is given them

local function report_outer(path, outer)
  for _, finding in ipairs(outer or {}) do host.report(path, finding.line, finding.text) end
end

local function reach(roots)
  local seen, tables, open = {}, {}, {}
  local function add(value)
    local kind = type(value)
    if (kind == "table" or kind == "function") and not seen[value] and not own[value] then
      seen[value] = true
      open[#open + 1] = value
    end
  end
  local function reach_function(handler)
    local info = debug.getinfo(handler, "S")
    if info.what ~= "C" and info.source:sub(1, 1) ~= "@" then return end -- the hub's own
    local path = info.what ~= "C" and info.source:sub(2)
    for index = 1, 255 do
      local name, value = debug.getupvalue(handler, index)
      if not name then break end
      if path then
        report_outer(path, files[path] and files[path].outer[info.linedefined .. ":" .. name])
        add(value)
      elseif math.type(value) == "integer" then
        return true
      end
    end
  end
  for _, value in ipairs(roots) do add(value.value) end
  local iterator = false
  while #open > 0 do
    local value = table.remove(open)
    if type(value) == "function" then
      iterator = reach_function(value) or iterator
    elseif not host.read_only(value) then
      tables[#tables + 1] = value
      add(debug.getmetatable(value))
      for key, item in host.next, value do
        add(key)
        add(item)
      end
    end
  end
  return tables, iterator
end

local reached = {} -- lists of tables

-- contexts, files: of loader.lua. own: its tables that scripts hold, passed over.
function outlive.reach(contexts, all_files, loaders_own)
  files, own = all_files, loaders_own
  for _, name in ipairs(sorted_keys(contexts)) do
    local context = contexts[name]
    for _, declared in ipairs(context.order) do
      local roots = { { value = declared.key } }
      for _, part in ipairs { "conflicts", "run" } do
        if declared[part] then roots[#roots + 1] = { value = declared[part].handler } end
      end
      for _, verb in ipairs { "apply", "execute", "when" } do
        for _, handler in pairs(declared[verb] or {}) do roots[#roots + 1] = { value = handler.handler } end
      end
      local tables, iterator = reach(roots)
      if iterator then
        host.report(declared.path, declared.line, ("%s: a handler reaches an iterator that began at file level: nothing may outlive a call")
          :format(declared.name))
      end
      reached[#reached + 1] = tables
    end
    local roots = {}
    for _, upcaster in ipairs(context.upcasters) do roots[#roots + 1] = { value = upcaster.handler } end
    for _, module in pairs(context.modules) do roots[#roots + 1] = { value = module.value } end
    reached[#reached + 1] = reach(roots)
  end
  for path, file in pairs(files) do -- what did not run to its end may have lacked just these
    local context = contexts[file.context]
    local module = context and context.modules[path]
    if context and not (module and module.state == "loaded") then
      for _, outer in pairs(file.outer) do report_outer(path, outer) end
    end
  end
end

-- Tables of loader.lua that handlers reach by name: what is declared, and its lists of handlers. Returns the table.
local held = {}
function outlive.hold(table)
  held[#held + 1] = table
  return table
end

-- If nothing was reported.
function outlive.freeze()
  host.freeze(held)
  for _, tables in ipairs(reached) do host.freeze(tables) end
end

return outlive
