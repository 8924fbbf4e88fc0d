std = "lua54"
max_line_length = 140
files["scripts"] = {
  globals = { "upcast" },
  read_globals = { "contracts", "aggregate", "projection", "receptor", "service", "task", "decimal", "list", "days", "hours",
                   "minutes", "seconds", "time", "emit", "reject", "send", "cancel", "record", "publish", "retry", "http", "views",
                   "clock", "log", "env" },
  -- messages are declared by contracts; lore check knows them exactly
  ignore = { "113/[A-Z].*", "212/m", "212/_.*" },
}
files["specs"] = {
  read_globals = { "describe", "it", "before_each", "aggregate", "projection", "receptor", "service", "task", "send", "cancel",
                   "decimal", "list", "days", "hours", "minutes", "seconds", "time", "at", "on",
                   "billing", "fines", "mailing", "security" },
  globals = { "assert" }, -- busted's: assert.same
  ignore = { "113/[A-Z].*" },
}
files["lua/spec.lua"] = { globals = { "arg" } } -- busted reads its command line there
