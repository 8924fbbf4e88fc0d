-- graph.lua: the context map as a graph, and the graph as DOT, Mermaid and SVG.
--
--   local graph = graphs.whole()       or graphs.overview(), graphs.around(context)
--   graphs.dot(graph), graphs.mermaid(graph), graphs.svg(graph, label)
--
-- A graph: { groups = { { name, nodes = { { id, label, kind, link } } } }, edges = { { from, to, kind, lines = { … } } } }.
-- Edges: events go from who gives them to who listens, commands from who sends them to who takes them, reads from a view to who looks.
local core = require "lore.core"
local book = require "lore.book_flows"
local graphs = {}

-- Names are names, but for imports, which are paths of files.
local function link_of(block)
  local name = block.name:gsub("/", "-"):gsub("[^%w_-]", function(char) return (".%02x"):format(char:byte()) end)
  return ("contexts/%s.html#%s-%s"):format(block.context, block.kind, name)
end
graphs.link_of = link_of

-- --- the graph ---

-- Nothing where a part of it cannot be told.
local function times(line) return line.count and not line.unknown and (" ×%d"):format(line.count) or "" end

-- Every edge of the map: calls edge(kind, from, to, text, count).
local function each_edge(edge)
  for _, flow in ipairs(book.flows) do
    if flow.kind == "handles" and flow.message.is_event then
      for _, giver in ipairs(book.publishers(flow.message)) do
        edge("event", giver, flow.block, flow.message.name, book.times_given(giver, flow.message))
      end
    elseif flow.kind == "sends" then
      edge("command", flow.block, flow.target, flow.message and flow.message.name or "?", flow.count)
    elseif flow.kind == "reads" then
      edge("read", flow.target, flow.block, "")
    end
  end
end

local function new_graph() return { groups = {}, edges = {}, group = {}, edge = {} } end

local function add_group(graph, name)
  local group = graph.group[name]
  if not group then
    group = { name = name, nodes = {}, node = {} }
    graph.group[name] = group
    graph.groups[#graph.groups + 1] = group
  end
  return group
end

local function add_node(graph, block)
  local group = add_group(graph, block.context)
  if group.node[block.id] then return end
  group.node[block.id] = true
  table.insert(group.nodes, { id = block.id, label = block.name, kind = block.kind, link = link_of(block) })
end

-- Edges between the same two of one kind are one, with a line for each message; what it counts is added up.
local function add_edge(graph, kind, from, to, text, count)
  local key = table.concat({ kind, from, to }, "\0")
  local edge = graph.edge[key]
  if not edge then
    edge = { kind = kind, from = from, to = to, texts = {}, order = {} }
    graph.edge[key] = edge
    graph.edges[#graph.edges + 1] = edge
  end
  if not edge.texts[text] then
    edge.texts[text] = {}
    edge.order[#edge.order + 1] = text
  end
  local line = edge.texts[text]
  if count then line.count = (line.count or 0) + count else line.unknown = true end
end

local function finish(graph)
  table.sort(graph.groups, function(a, b) return a.name < b.name end)
  for _, group in ipairs(graph.groups) do table.sort(group.nodes, function(a, b) return a.id < b.id end) end
  table.sort(graph.edges, function(a, b)
    if a.from ~= b.from then return a.from < b.from end
    if a.to ~= b.to then return a.to < b.to end
    return a.kind < b.kind
  end)
  for _, edge in ipairs(graph.edges) do
    table.sort(edge.order)
    edge.lines = {}
    for _, text in ipairs(edge.order) do
      if text ~= "" then edge.lines[#edge.lines + 1] = text .. times(edge.texts[text]) end
    end
  end
  return graph
end

function graphs.whole()
  local graph = new_graph()
  for _, context in ipairs(book.contexts) do add_group(graph, context.name) end
  for _, block in ipairs(book.blocks) do add_node(graph, block) end
  each_edge(function(kind, from, to, text, count) add_edge(graph, kind, from.id, to.id, text, count) end)
  return finish(graph)
end

-- A context with all of its blocks, and of others what they exchange with it.
function graphs.around(name)
  local graph = new_graph()
  add_group(graph, name)
  for _, block in ipairs(book.context(name).blocks) do add_node(graph, block) end
  each_edge(function(kind, from, to, text, count)
    if from.context == name or to.context == name then
      add_node(graph, from)
      add_node(graph, to)
      add_edge(graph, kind, from.id, to.id, text, count)
    end
  end)
  return finish(graph)
end

-- One node for each context.
function graphs.overview()
  local graph = new_graph()
  for _, context in ipairs(book.contexts) do
    local group = add_group(graph, "")
    table.insert(group.nodes, { id = context.name, label = context.name, kind = "context",
      link = ("contexts/%s.html"):format(context.name) })
  end
  local seen = {} -- an event that several in a context listen to is there once
  each_edge(function(kind, from, to, text, count)
    local key = from.id .. "\0" .. to.context .. "\0" .. text
    if from.context ~= to.context and not seen[key] then
      seen[key] = true
      add_edge(graph, kind, from.context, to.context, text, count)
    end
  end)
  return finish(graph)
end

-- --- as text ---

local function quoted(text) return '"' .. text:gsub('[\\"]', "\\%0"):gsub("\n", "\\n") .. '"' end

local function xml(text) return (text:gsub("[&<>\"']", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;",
  ["'"] = "&#39;" })) end

-- Aggregates, which decide, have corners.
local function style_of(kind) return kind == "aggregate" and "filled" or "filled,rounded" end

local function dot_node(out, node, indent, root)
  local small = node.kind ~= "context" and ('<br/><font point-size="9">%s</font>'):format(node.kind) or ""
  out[#out + 1] = ("%s%s [label=<%s%s>, style=%s, class=%s%s]"):format(indent, quoted(node.id), xml(node.label), small,
    quoted(style_of(node.kind)), quoted(node.kind), root and (", URL=" .. quoted(root .. node.link)) or "")
end

-- root: what stands before the addresses of links; nil: no links.
function graphs.dot(graph, root)
  local out = { "digraph lore {", '  rankdir=LR; bgcolor="transparent"; pad=0.2; nodesep=0.25; ranksep=0.6; newrank=true',
    '  node [fontname="Helvetica", fontsize=12, shape=box, margin="0.16,0.09", fillcolor="#ffffff"]',
    '  edge [fontname="Helvetica", fontsize=9.5, arrowsize=0.7]' }
  for index, group in ipairs(graph.groups) do
    if group.name == "" then
      for _, node in ipairs(group.nodes) do dot_node(out, node, "  ", root) end
    else
      out[#out + 1] = ("  subgraph cluster_%d {"):format(index)
      out[#out + 1] = ("    label=%s; labeljust=l; style=rounded; margin=14"):format(quoted(group.name))
      out[#out + 1] = '    fontname="Helvetica-Bold"; fontsize=13; class="group"'
      for _, node in ipairs(group.nodes) do dot_node(out, node, "    ", root) end
      -- without a node a cluster would not be drawn
      if #group.nodes == 0 then out[#out + 1] = ('    "empty %s" [label="", shape=point, style=invis]'):format(group.name) end
      out[#out + 1] = "  }"
    end
  end
  for _, edge in ipairs(graph.edges) do
    out[#out + 1] = ("  %s -> %s [class=%s%s%s]"):format(quoted(edge.from), quoted(edge.to), quoted(edge.kind),
      #edge.lines > 0 and (", label=" .. quoted(table.concat(edge.lines, "\n"))) or "",
      edge.kind == "command" and "" or edge.kind == "read" and ', style=dotted, arrowhead=open' or ", style=dashed")
  end
  out[#out + 1] = "}"
  return table.concat(out, "\n") .. "\n"
end

local MERMAID = { aggregate = { "[", "]" }, projection = { "[(", ")]" }, receptor = { "[/", "/]" }, service = { "[[", "]]" },
  task = { "{{", "}}" }, import = { ">", "]" }, context = { "(", ")" } }

local function mermaid_text(text) return '"' .. xml(text):gsub("&#39;", "'"):gsub("&(%w+);", "#%1;"):gsub("\n", "<br/>") .. '"' end

function graphs.mermaid(graph)
  local out, ids, count = { "flowchart LR" }, {}, 0
  for index, group in ipairs(graph.groups) do
    if group.name ~= "" then out[#out + 1] = ("  subgraph g%d [%s]"):format(index, mermaid_text(group.name)) end
    for _, node in ipairs(group.nodes) do
      count = count + 1
      ids[node.id] = "n" .. count
      local mark = MERMAID[node.kind]
      out[#out + 1] = ("    %s%s%s%s"):format(ids[node.id], mark[1],
        mermaid_text(node.kind == "context" and node.label or node.label .. "\n" .. node.kind), mark[2])
    end
    if group.name ~= "" then out[#out + 1] = "  end" end
  end
  for _, edge in ipairs(graph.edges) do
    local arrow = edge.kind == "command" and "-->" or "-.->"
    local label = #edge.lines > 0 and ("|%s|"):format(mermaid_text(table.concat(edge.lines, "\n"))) or ""
    out[#out + 1] = ("  %s %s%s %s"):format(ids[edge.from], arrow, label, ids[edge.to])
  end
  return table.concat(out, "\n") .. "\n"
end

-- --- as a picture ---

-- The same in pages and in a file of its own; colours follow the reader's.
graphs.style = [[
.map{font-family:Helvetica,Arial,sans-serif}
.map text{fill:var(--ink);stroke:none;font-family:inherit}
.map a{text-decoration:none}.map a:hover text{text-decoration:underline}
.map .node path,.map .node polygon,.map .node ellipse,.map .node polyline{stroke:var(--line);fill:var(--paper)}
.map .aggregate path,.map .aggregate polygon{fill:var(--aggregate)}
.map .projection path,.map .projection polygon{fill:var(--projection)}
.map .receptor path,.map .receptor polygon{fill:var(--receptor)}
.map .service path,.map .service polygon{fill:var(--service)}
.map .task path,.map .task polygon{fill:var(--task)}
.map .import path,.map .import polygon{fill:var(--import)}
.map .context path,.map .context polygon{fill:var(--aggregate)}
.map .cluster path,.map .cluster polygon{stroke:var(--line);fill:var(--shade)}
.map .edge path{stroke:var(--event);fill:none}.map .edge polygon{stroke:var(--event);fill:var(--event)}
.map .edge text{fill:var(--event)}
.map .command path{stroke:var(--command)}.map .command polygon{stroke:var(--command);fill:var(--command)}
.map .command text{fill:var(--command)}
.map .read path,.map .read polygon{stroke:var(--faint)}.map .read polygon{fill:var(--faint)}
]]
graphs.colours = [[
:root{--ink:#1d2330;--faint:#626b7a;--paper:#ffffff;--shade:#f5f6f9;--line:#c5cbd6;--accent:#1f5fbf;--event:#a8550b;--command:#1f5fbf;
--aggregate:#fdf0c9;--projection:#dcedd8;--receptor:#e6defa;--service:#fbdde0;--task:#d9ecf4;--import:#ececec;--good:#1a7f3c;--bad:#c02626;
--code:#f5f6f9;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--ink:#e2e6ee;--faint:#98a2b3;--paper:#14171e;--shade:#1b1f28;--line:#3a4252;--accent:#82b1ff;
--event:#f0ab62;--command:#82b1ff;--aggregate:#4a3f18;--projection:#243c22;--receptor:#372d54;--service:#4d272c;--task:#1e3c49;
--import:#333842;--good:#5fd083;--bad:#ff8080;--code:#1b1f28}}
]]

-- label: what it shows, for who cannot see it. alone: a file of its own. Also gives the width below which it is not shrunk.
function graphs.svg(graph, root, label, alone)
  local svg = core.draw(graphs.dot(graph, root))
  svg = svg:gsub("^.-<svg", "<svg", 1):gsub("<!%-%-.-%-%->\n?", ""):gsub("<title>[^<]*</title>\n?", ""):gsub("xlink:title=\"[^\"]*\"", "")
    :gsub("xlink:href", "href"):gsub(' xmlns:xlink="[^"]*"', ""):gsub(' target="[^"]*"', "")
  local width, height = svg:match '^<svg width="([%d.]+)pt" height="([%d.]+)pt"'
  local least_px = math.floor(width * 0.75)
  local size = ('width="%s" height="%s" style="min-width:%dpx"'):format(width, height, least_px)
  local head = ('<svg class="map" role="img" aria-label="%s" %s'):format(xml(label), size)
  svg = svg:gsub('^<svg width="[^"]*" height="[^"]*"', function() return head end, 1)
  if alone then svg = svg:gsub(">", ">\n<style>" .. graphs.colours .. graphs.style .. "</style>", 1) end
  return svg:gsub("%s+$", "\n"), least_px
end

return graphs
