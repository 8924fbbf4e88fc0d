-- docs_source.lua: a script as a page, with a mark for each line, and messages linked to what is told of them.
local book = require "lore.book_flows"
local html = require "lore.html"
local parts = require "lore.docs_parts"
local h = html.h

local sources = {}

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in local nil not
  or repeat return then true until while]]):gmatch "%a+" do
  KEYWORDS[word] = true
end

-- The end of a quoted text that begins at a place.
local function quoted_end(text, at)
  local quote = text:sub(at, at)
  local i = at + 1
  while i <= #text do
    local char = text:sub(i, i)
    if char == quote or char == "\n" then return i end
    i = i + (char == "\\" and 2 or 1)
  end
  return #text
end

-- Calls put(kind, piece) for a whole text; kinds: com, str, key, word and "".
local function pieces(text, put)
  local at = 1
  while at <= #text do
    local last, kind
    local level = text:match("^%-%-%[(=*)%[", at)
    local long = text:match("^%[(=*)%[", at)
    if level or long then
      kind, last = level and "com" or "str", select(2, text:find("]" .. (level or long) .. "]", at, true)) or #text
    elseif text:find("^%-%-", at) then
      kind, last = "com", (text:find("\n", at, true) or #text + 1) - 1
    elseif text:find("^[\"']", at) then
      kind, last = "str", quoted_end(text, at)
    else
      local word = text:match("^[%a_][%w_]*", at)
      last = at + #(word or text:match("^[^%a_%-%[\"']+", at) or "x") - 1
      kind = word and (KEYWORDS[word] and "key" or "word") or ""
    end
    put(kind, text:sub(at, last))
    at = last + 1
  end
end

-- The words of contracts are messages too.
local function mark(kind, piece, context)
  if kind == "word" then
    local message = context and book.message(context, piece)
    return message and h("a", { class = "msg", href = ("%scontexts/%s.html#%s"):format(sources.root, context, piece) }, piece) or piece
  elseif kind == "str" and piece:find "^%[=*%[" and context then
    local out, at = {}, 1
    for first, word, after in piece:gmatch "()([%a_][%w_]*)()" do
      if book.message(context, word) then
        out[#out + 1] = { h("span", { class = kind }, piece:sub(at, first - 1)), mark("word", word, context) }
        at = after
      end
    end
    out[#out + 1] = h("span", { class = kind }, piece:sub(at))
    return out
  end
  return kind == "" and piece or h("span", { class = kind }, piece)
end

local function lines_of(file)
  local lines, line = {}, {}
  pieces(table.concat(file.lines, "\n"), function(kind, piece)
    local first = true
    for part in (piece .. "\n"):gmatch "(.-)\n" do
      if not first then
        lines[#lines + 1] = line
        line = {}
      end
      if part ~= "" then line[#line + 1] = mark(kind, part, file.context ~= "" and file.context) end
      first = false
    end
  end)
  lines[#lines + 1] = line
  return lines
end

function sources.page(file)
  sources.root = ("../"):rep(select(2, parts.source_url(file.path):gsub("/", "")))
  local out = {}
  for number, line in ipairs(lines_of(file)) do
    out[#out + 1] = h("span", { class = "l", id = "L" .. number }, h("a", { class = "n", href = "#L" .. number }, tostring(number)), line)
  end
  local context = book.context(file.context)
  return parts.page(sources.root, file.path, "source.html", {
    context and h("p", { class = "crumb" }, h("a", { href = ("%scontexts/%s.html"):format(sources.root, context.name) }, context.name)),
    h("h1", file.path), h("pre", { class = "source" }, out) })
end

function sources.index()
  local out, before = {}, nil
  for _, file in ipairs(book.files) do
    if file.context ~= before then
      out[#out + 1] = h("h2", file.context ~= "" and file.context or "Of all contexts")
      before = file.context
    end
    local first = file.comment:match "^[^\n]*"
    out[#out + 1] = h("p", h("a", { class = "mono", href = parts.source_url(file.path) }, file.path),
      first ~= "" and h("span", { class = "legend" }, "  ", first))
  end
  return parts.page("", "Source", "source.html", { h("h1", "Source"), out })
end

return sources
