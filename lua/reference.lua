-- reference.lua: all that a session of the REPL can call, in the order in which help shows it. Help and completion know nothing else
-- but what the scripts declare, so what is not here does not exist for a user; a test holds it against what there is.
--
-- An entry: name ("string.format"; "stream:at" is a method of what is a stream), args as they are written, text; gives: what kind of
-- thing comes back, so that completion can go on behind it; fields: of a word that takes a table; example.

local groups = {}

local function group(title, entries)
  groups[#groups + 1] = { title = title, entries = entries }
end

group("Streams and messages", {
  { name = "contexts", args = ".CONTEXT", text = "Every context by name, also one whose name a word has." },
  { name = "aggregate", args = "(id)", gives = "stream",
    text = "A stream now: { stream, version, position, state }. Version 0 and no state: it was never written.",
    example = 'billing.bill "7"' },
  { name = "stream:at", args = "(moment)", gives = "stream",
    text = 'The stream as it was at a time (by when its events happened), a position or "deploy:N".',
    example = 'billing.bill("7"):at "2026-05-01"' },
  { name = "stream:events", args = "()", gives = "query", text = "The events of the stream, a query." },
  { name = "message", args = "{ field = value, … }",
    text = "Each message of the contracts is a function that checks its fields. Names of several contexts: CONTEXT.MESSAGE.",
    example = "CloseBill { close_date = now() }" },
})

group("Views", {
  { name = "views", args = ".NAME or .CONTEXT.NAME", text = "The documents that projections made." },
  { name = "view", args = "(key)", text = "One document, or nil.", example = 'views.open_bills "7"' },
  { name = "view:get", args = "(key)", text = "One document, or nil." },
  { name = "view:range", args = "(index, min, max)", gives = "documents",
    text = "Documents in the order of an index, both ends included, nil: open.",
    example = 'views.outstanding_invoices:range("due_on", nil, now())' },
  { name = "view:all", args = "()", gives = "documents", text = "All documents in the order of their keys." },
  { name = "view:count", args = "()", text = "How many documents there are." },
  { name = "documents:count", args = "()", text = "How many they are." },
  { name = "documents:list", args = "()", gives = "result", text = "They as a list of { key, document }." },
  { name = "documents:plot", args = "(title)", text = "Bars by key, of documents that have one number." },
  { name = "documents:save", args = "(file)", text = "Keys and documents into a .csv or .ndjson file, here and not in the hub." },
  { name = "documents", args = "", text = "for key, document in DOCUMENTS do … end reads them page by page." },
})

group("Events", {
  { name = "events", args = "{ filters }", gives = "query",
    fields = { "type", "types", "context", "aggregate", "stream", "tenant", "since", "to", "from", "upto", "position", "deploy",
      "correlation", "actor", "last" },
    text = "Events of the log, as a query that reads nothing yet. type, types (\"BillClosed\", \"billing.BillClosed\"), context, "
      .. "aggregate, stream, tenant (\"*\": all), actor, correlation; since, to (or [\"until\"]): when it happened; from, upto: a "
      .. "position, a time of recording or \"deploy:N\"; position, deploy; last: the last so many of them. In functions an event is "
      .. "{ type, at, … envelope …, data = { … } }.",
    example = 'events { type = "BillClosed", since = "2026-01-01" }:group("month"):count()' },
  { name = "query:where", args = "(f)", gives = "query",
    text = "Rows for which f gives something true. A function here is a function of the row or the name of a field: \"type\", "
      .. "\"data.amount\", \"amount\".",
    example = 'events {}:where(function(e) return e.data.amount end)' },
  { name = "query:map", args = "(f)", gives = "query", text = "What f gives for each row; nil leaves it out." },
  { name = "query:sort", args = '(f, "desc")', gives = "query", text = "By what f gives, smallest first, or largest." },
  { name = "query:limit", args = "(n)", gives = "query", text = "The first n rows." },
  { name = "query:skip", args = "(n)", gives = "query", text = "All but the first n rows." },
  { name = "query:join", args = "(view, key)", gives = "query",
    text = "With the document of that key (without one: of the event's id) as second argument of functions, and as a field of the "
      .. "view's name.",
    example = 'events { type = "BillClosed" }:join(views.open_bills):where(function(e, bill) return bill end)' },
  { name = "query:group", args = "(f)", gives = "query",
    text = "By what f gives, nil: in no group. Then an end gives an object of keys and values. Of an event also \"day\", "
      .. "\"month\", \"year\"." },
  { name = "query:count", args = "()", gives = "result", text = "How many rows." },
  { name = "query:sum", args = "(f)", gives = "result", text = "Exact, whatever the order: integers, decimals, or floats rounded once." },
  { name = "query:avg", args = "(f)", gives = "result", text = "The sum divided by how many there are; nil if there are none." },
  { name = "query:min", args = "(f)", gives = "result", text = "The smallest of numbers, texts, booleans." },
  { name = "query:max", args = "(f)", gives = "result", text = "The largest." },
  { name = "query:quantile", args = "(q, f)", gives = "result",
    text = "The smallest value that a share q of all is not above: quantile(0.5, f) is the median. Always one of the values." },
  { name = "query:top", args = "(n, f)", gives = "result",
    text = "The n rows with the largest f, largest first; of equal ones the earlier." },
  { name = "query:first", args = "()", text = "The first row, or nil." },
  { name = "query:last", args = "()", text = "The last row, or nil." },
  { name = "query:sample", args = "(n)", gives = "result", text = "n rows drawn evenly, the same ones each time, in their order." },
  { name = "query:distinct", args = "(f)", gives = "result", text = "Each value once, in the order in which they first come." },
  { name = "query:rows", args = "()", gives = "result", text = "All rows as a list." },
  { name = "query:list", args = "()", gives = "result", text = "All rows as a list." },
  { name = "query:plot", args = "(title)", text = "A plot of the rows: numbers make a histogram, groups bars, by times a line." },
  { name = "query:save", args = "(file)", text = "The rows into a .csv or .ndjson file, here and not in the hub." },
  { name = "query", args = "", text = "for row in QUERY do … end walks the rows; shown, a query tells its first ones." },
  { name = "result:plot", args = "(title)",
    text = "A plot: bars, by times a line; of a list of numbers a histogram.", example = "it:plot()" },
  { name = "result:save", args = "(file)",
    text = "Into a .csv or .ndjson file, here and not in the hub.", example = 'it:save "months.csv"' },
  { name = "plot", args = "(t, title)",
    text = "A plot of a table of your own: { label = number }, a list of numbers, or of { label, number }.",
    example = 'plot({ { "a", 1 }, { "b", 2 } }, "two")' },
  { name = "save", args = "(t, file)", text = "A table of your own into a .csv or .ndjson file, here and not in the hub.",
    example = 'save({ { a = 1 }, { a = 2 } }, "a.csv")' },
  { name = "projection_from", args = "(name, query, sum)",
    text = "The file of a projection that keeps what a grouped query counts, and the sum of a field; in place of the query also what its "
      .. ":count() or :sum(f) gave. Only :where and :group, by functions that use nothing from outside.",
    example = 'projection_from("closed_by_month", events { type = "BillClosed" }:group("month"), "total")' },
})

group("The session", {
  { name = "it", args = "", text = "The value of the last expression; behind a plot or a file what was drawn or saved." },
  { name = "now", args = "()", text = "The time of the hub, as text." },
  { name = "tenant", args = "(name)", text = "Reads this tenant from here on; tenant() tells which one." },
  { name = "print", args = "(…)", text = "Shows values as text, at once; of tables what is in them." },
})

group("Ahead, behind, and the past", {
  { name = "dry", args = "(stream, COMMAND { … }, …)",
    text = "What the commands would do now: { events, documents, sends, rejected, failures }. Nothing is written.",
    example = 'dry("billing/bill/7", CloseBill { close_date = now() })' },
  { name = "send", args = "(stream, COMMAND { … }, …)",
    text = "Sends the commands, as one transaction: { version, position, events }. Only after :write.",
    example = 'send("billing/bill/7", CloseBill { close_date = now() })' },
  { name = "at", args = "(moment)",
    text = 'The session goes to a time (by when events were recorded), a position or "deploy:N"; at() comes back to now.',
    example = 'at "2026-05-01"' },
  { name = "trace", args = "(x)",
    text = "Causes and effects around an event, its position, a stream (its last event), also as text, or an id.", example = "trace(812)" },
  { name = "blame", args = "(x, key)", text = "Which deploy, file, line and command made an event, a stream, or a document of a view.",
    example = 'blame(views.open_bills, "7")' },
  { name = "spec_from", args = "(stream, from, to)",
    text = "A spec of what really happened in a stream, from version to version, as a file; personal data is replaced.",
    example = 'spec_from("billing/bill/7", 1, 20)' },
})

group("Times and numbers", {
  { name = "days", args = "(n)", gives = "duration", text = "A duration: now() - days(15) is a time." },
  { name = "hours", args = "(n)", gives = "duration", text = "A duration." },
  { name = "minutes", args = "(n)", gives = "duration", text = "A duration." },
  { name = "seconds", args = "(n)", gives = "duration", text = "A duration." },
  { name = "duration:seconds", args = "()", text = "A duration as a number of seconds." },
  { name = "time", args = "(text)", text = "Any ISO-8601 time in the form that sorts as text." },
  { name = "time.between", args = "(a, b)", text = "b - a in seconds." },
  { name = "decimal", args = "(x)", gives = "decimal", text = 'An exact number: decimal "1.20". + - * are exact, / gives 28 digits.' },
  { name = "decimal:round", args = "(digits)", gives = "decimal", text = "Exactly so many digits behind the point, ties away from zero." },
  { name = "decimal:is_zero", args = "()", text = "Whether it is 0 (d == 0 is always false)." },
  { name = "decimal:abs", args = "()", gives = "decimal", text = "Without its sign." },
  { name = "decimal:sign", args = "()", text = "-1, 0 or 1." },
  { name = "decimal:float", args = "()", text = "As a float." },
  { name = "decimal:integer", args = "()", text = "As an integer, if it is one." },
  { name = "list", args = "{ … }", text = "Marks a table as a list, so that an empty one is [] in JSON." },
})

group("Lua", {
  { name = "assert", args = "(v, message)", text = "An error if v is false or nil." },
  { name = "error", args = "(message)", text = "Ends the evaluation." },
  { name = "getmetatable", args = "(v)", text = "The metatable of a value that has one of its own." },
  { name = "ipairs", args = "(t)", text = "for i, v in ipairs(t): items 1, 2, …" },
  { name = "next", args = "(t, key)", text = "The next key and value, in key order." },
  { name = "pairs", args = "(t)", text = "for k, v in pairs(t): all fields, in key order." },
  { name = "pcall", args = "(f, …)", text = "true and results, or false and the error." },
  { name = "rawequal", args = "(a, b)", text = "Equality without metamethods." },
  { name = "rawget", args = "(t, k)", text = "t[k] without metamethods." },
  { name = "rawlen", args = "(t)", text = "#t without metamethods." },
  { name = "rawset", args = "(t, k, v)", text = "t[k] = v without metamethods." },
  { name = "select", args = "(n, …)", text = 'Arguments from n on; select("#", …): how many.' },
  { name = "setmetatable", args = "(t, meta)", text = "Gives a table of your own a metatable." },
  { name = "tonumber", args = "(v, base)", text = "A number, or nil." },
  { name = "tostring", args = "(v)", text = "As text." },
  { name = "type", args = "(v)", text = '"nil", "number", "string", "table", …' },
  { name = "xpcall", args = "(f, handler, …)", text = "As pcall; handler(error) makes the second result." },
})

group("Texts", {
  { name = "string.byte", args = "(s, i, j)", text = "Codes of bytes." },
  { name = "string.char", args = "(…)", text = "A text of bytes." },
  { name = "string.find", args = "(s, pattern, from, plain)", text = "Where a pattern begins and ends." },
  { name = "string.format", args = "(format, …)", text = '("%.2f %s"):format(1.5, "x")' },
  { name = "string.gmatch", args = "(s, pattern)", text = "for word in s:gmatch '%a+' do … end" },
  { name = "string.gsub", args = "(s, pattern, by, n)", text = "Replaces what matches." },
  { name = "string.len", args = "(s)", text = "Bytes of a text." },
  { name = "string.lower", args = "(s)", text = "Small letters (ASCII)." },
  { name = "string.match", args = "(s, pattern, from)", text = "What matches, or its captures." },
  { name = "string.pack", args = "(format, …)", text = "Values as bytes." },
  { name = "string.packsize", args = "(format)", text = "How many bytes pack makes." },
  { name = "string.rep", args = "(s, n, between)", text = "n times the text." },
  { name = "string.reverse", args = "(s)", text = "The bytes backwards." },
  { name = "string.sub", args = "(s, i, j)", text = "A part: s:sub(1, 7)" },
  { name = "string.unpack", args = "(format, s, from)", text = "Values out of bytes." },
  { name = "string.upper", args = "(s)", text = "Capital letters (ASCII)." },
  { name = "utf8.char", args = "(…)", text = "A text of code points." },
  { name = "utf8.codepoint", args = "(s, i, j)", text = "Code points of a text." },
  { name = "utf8.codes", args = "(s)", text = "for at, code in utf8.codes(s) do … end" },
  { name = "utf8.len", args = "(s)", text = "Characters of a text." },
  { name = "utf8.offset", args = "(s, n)", text = "Where the n-th character begins." },
})

group("Tables", {
  { name = "table.concat", args = "(list, between, i, j)", text = "One text of all items." },
  { name = "table.insert", args = "(list, at, v)", text = "Adds an item, at the end without at." },
  { name = "table.move", args = "(a, from, to, at, b)", text = "Copies items." },
  { name = "table.pack", args = "(…)", text = "A list with n." },
  { name = "table.remove", args = "(list, at)", text = "Takes an item out, the last without at." },
  { name = "table.sort", args = "(list, before)", text = "Sorts in place; stable." },
  { name = "table.unpack", args = "(list, i, j)", text = "The items as results." },
})

group("Mathematics", {
  { name = "math.abs", args = "(x)", text = "Without its sign." },
  { name = "math.acos", args = "(x)", text = "Arc cosine." },
  { name = "math.asin", args = "(x)", text = "Arc sine." },
  { name = "math.atan", args = "(y, x)", text = "Arc tangent of y / x." },
  { name = "math.ceil", args = "(x)", text = "The next integer above." },
  { name = "math.cos", args = "(x)", text = "Cosine." },
  { name = "math.deg", args = "(x)", text = "Radians in degrees." },
  { name = "math.exp", args = "(x)", text = "e to the x." },
  { name = "math.floor", args = "(x)", text = "The next integer below." },
  { name = "math.fmod", args = "(a, b)", text = "The rest of a division, towards zero." },
  { name = "math.log", args = "(x, base)", text = "Logarithm." },
  { name = "math.max", args = "(…)", text = "The largest." },
  { name = "math.min", args = "(…)", text = "The smallest." },
  { name = "math.modf", args = "(x)", text = "Integral and fractional part." },
  { name = "math.rad", args = "(x)", text = "Degrees in radians." },
  { name = "math.sin", args = "(x)", text = "Sine." },
  { name = "math.sqrt", args = "(x)", text = "Square root." },
  { name = "math.tan", args = "(x)", text = "Tangent." },
  { name = "math.tointeger", args = "(x)", text = "The integer that x is, or nil." },
  { name = "math.type", args = "(x)", text = '"integer", "float" or nil.' },
  { name = "math.ult", args = "(a, b)", text = "a < b as unsigned integers." },
})

local by_name = {}
for _, each in ipairs(groups) do
  for _, entry in ipairs(each.entries) do
    assert(not by_name[entry.name], entry.name)
    by_name[entry.name] = entry
  end
end

return { groups = groups, by_name = by_name }
