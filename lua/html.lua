-- html.lua: HTML out of values. A text is always escaped; only what h made is not.
--
--   h("p", { class = "lead" }, "1 < 2, says ", h("a", { href = "x.html" }, "who?"), list_of_more)
local clean = require "lore.clean_text"
local html = {}

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }
local VOID = { meta = true, link = true, br = true, input = true, hr = true }

local Made = {}

-- Text as it may stand anywhere in a page: well-formed UTF-8 without control characters.
function html.escape(text)
  text = clean(tostring(text))
  return (text:gsub("[%c]", function(char) return (char == "\n" or char == "\t") and char or "\u{FFFD}" end):gsub("[&<>\"']", ENTITIES))
end

local function put(out, child)
  if child == nil or child == false then return end
  if type(child) ~= "table" then
    out[#out + 1] = html.escape(child)
  elseif getmetatable(child) == Made then
    out[#out + 1] = child.text
  else -- a list, where nil and false are nothing
    local last = 0
    for index in pairs(child) do last = math.max(last, index) end
    for index = 1, last do put(out, child[index]) end
  end
end

-- Text that is HTML already.
function html.raw(text) return setmetatable({ text = text }, Made) end

-- Attributes are a table with names; everything else is a child.
local function h(name, attributes, ...)
  local children = { n = select("#", ...), ... }
  if type(attributes) ~= "table" or getmetatable(attributes) == Made or type(next(attributes)) == "number" then
    table.insert(children, 1, attributes or false)
    children.n, attributes = children.n + 1, {}
  end
  local out, names = { "<", name }, {}
  for key, value in pairs(attributes) do
    if value then names[#names + 1] = key end
  end
  table.sort(names)
  for _, key in ipairs(names) do
    out[#out + 1] = attributes[key] == true and " " .. key or (' %s="%s"'):format(key, html.escape(attributes[key]))
  end
  out[#out + 1] = ">"
  if VOID[name] then return html.raw(table.concat(out)) end
  for index = 1, children.n do put(out, children[index]) end
  out[#out + 1] = "</" .. name .. ">"
  return html.raw(table.concat(out))
end
html.h = h

function html.text(made)
  local out = {}
  put(out, made)
  return table.concat(out)
end

-- list[1], list[2] and list[3], each as make makes it.
function html.join(list, make, separator)
  local out = {}
  for index, each in ipairs(list) do
    if index > 1 then out[#out + 1] = separator or ", " end
    out[#out + 1] = make and make(each) or each
  end
  return out
end

-- A path as it stands in a link.
function html.url(path)
  return (path:gsub("[^%w/._~-]", function(char) return ("%%%02X"):format(char:byte()) end))
end

-- What is `marked` so is code.
local function with_code(text)
  local out, at = {}, 1
  for before, code, after in text:gmatch "()`([^`\n]+)`()" do
    out[#out + 1] = text:sub(at, before - 1)
    out[#out + 1] = h("code", code)
    at = after
  end
  out[#out + 1] = text:sub(at)
  return out
end

-- A comment: paragraphs, lists of lines that begin with a dash, and indented lines as they are.
function html.prose(text)
  local out, kind, lines = {}, nil, {}
  local function flush()
    if kind == "list" then
      out[#out + 1] = h("ul", html.join(lines, function(item) return h("li", with_code(item)) end, ""))
    elseif kind then
      out[#out + 1] = kind == "code" and h("pre", table.concat(lines, "\n")) or h("p", with_code(table.concat(lines, "\n")))
    end
    kind, lines = nil, {}
  end
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local item = line:match "^%s*%- (.*)"
    if not line:find "%S" then
      flush()
    elseif item and kind ~= "code" then
      if kind ~= "list" then flush() end
      kind, lines[#lines + 1] = "list", item
    elseif kind == "list" then
      lines[#lines] = lines[#lines] .. "\n" .. line
    else
      if kind == "code" and not line:find "^%s" then flush() end
      kind = kind or (line:find "^%s%s" and "code" or "text")
      lines[#lines + 1] = line
    end
  end
  flush()
  return out
end

return html
