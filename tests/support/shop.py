"""shop.py: a small domain for tests of the host: boxes that add numbers up, one view by key, one free."""

SCRIPTS = {
    "shop/contracts.lua": """contracts [[
  Open?   (owner: string)
  Opened! (owner: string)
  Add?    (n: integer)
  Added!  (n: integer)
  Fill?   (n: integer)
]]""",
    "shop/box.lua": """local box = aggregate "box" { initial = { sum = 0 } }
function box.apply.Opened(state, e) state.owner = e.owner end
function box.apply.Added(state, e) state.sum = state.sum + e.n end
function box.execute.Open(state, c)
  if state.owner then reject("exists", "it belongs to %s", state.owner) end
  return Opened { owner = c.owner }
end
function box.execute.Add(state, c)
  if c.n <= 0 then reject("nothing", "n must be at least 1") end
  return Added { n = c.n }
end
function box.execute.Fill(state, c)
  for n = 1, c.n do emit(Added { n = n }) end
end""",
    "shop/boxes.lua": """local boxes = projection "boxes" { initial = { sum = 0 }, index = { "sum" } }
function boxes.when.Opened(view, e) view.owner = e.owner end
function boxes.when.Added(view, e) view.sum = view.sum + e.n end""",
    "shop/sums.lua": """local sums = projection "sums" { key = false }
function sums.when.Added(docs, e)
  docs:update("sum of " .. e.n % 7, { sum = 0 }, function(sum) sum.sum = sum.sum + e.n end)
end""",
    "shop/import/rows.lua": """return function(row) send.box(row.id, Add { n = row.n }) end""",
}
