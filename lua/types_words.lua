-- types_words.lua: what scripts and specs see whatever they declare, as annotations for the Lua language server: text of .lore/lore.lua.
return [==[
---@meta
-- Made by lore types, which replaces it: the words of lore scripts and specs.

-- --- values ---

---ISO 8601 UTC text of fixed width: times sort and compare as text.
---@class lore.Time : string
---@operator add(lore.Duration): lore.Time
---@operator sub(lore.Duration): lore.Time

---@class lore.Duration
---@operator add(lore.Time): lore.Time
---@operator add(lore.Duration): lore.Duration
---@operator sub(lore.Duration): lore.Duration
---@operator mul(number): lore.Duration
---@operator div(number): lore.Duration
---@operator unm: lore.Duration
lore_duration = {}
---@return number
function lore_duration:seconds() end

---@alias lore.TimeLike lore.Time|string
---@alias lore.DurationLike lore.Duration|string

---An exact number. Compare decimals with decimals: d == 0 is never true.
---@class lore.Decimal
---@operator add(lore.Decimal|integer): lore.Decimal
---@operator sub(lore.Decimal|integer): lore.Decimal
---@operator mul(lore.Decimal|integer): lore.Decimal
---@operator div(lore.Decimal|integer): lore.Decimal
---@operator unm: lore.Decimal
---@operator concat(any): string
lore_decimal = {}
---@param digits? integer
---@return lore.Decimal
function lore_decimal:round(digits) end
---@return boolean
function lore_decimal:is_zero() end
---@return lore.Decimal
function lore_decimal:abs() end
---@return integer
function lore_decimal:sign() end
---@return number
function lore_decimal:float() end
---@return integer
function lore_decimal:integer() end

---@alias lore.DecimalLike lore.Decimal|string|integer

---@param value string|number
---@return lore.Decimal
function decimal(value) end

---Marks an empty table as a list: {} alone is a map.
---@generic T
---@param items T[]
---@return T[]
function list(items) end

---@param count number
---@return lore.Duration
function days(count) end
---@param count number
---@return lore.Duration
function hours(count) end
---@param count number
---@return lore.Duration
function minutes(count) end
---@param count number
---@return lore.Duration
function seconds(count) end

time = {}
---b - a in seconds.
---@param a lore.TimeLike
---@param b lore.TimeLike
---@return number
function time.between(a, b) end

---What travels with a message.
---@class lore.Envelope
---@field id string of the aggregate
---@field aggregate string
---@field context string
---@field stream string
---@field tenant string
---@field type string
---@field type_version integer
---@field version? integer of the stream, from 1
---@field at lore.Time when it happened
---@field actor? string
---@field command_id? string
---@field correlation_id? string
---@field causation_id? string
---@field position? integer of the log, from 1; absent in apply and execute
---@field recorded? lore.Time the hub's clock; absent in apply and execute
---@field deploy? integer

---An event as one value.
---@class lore.Event : lore.Envelope
---@field data table

-- --- in handlers ---

---Adds an event to what the command gives; it is applied at once.
---@param event any
function emit(event) end

---Ends the command: nothing is appended, and the caller gets the code.
---@param code string
---@param message? string
---@param ... any
function reject(code, message, ...) end

---Publishes an event to the stream of the service or task.
---@param event any
function publish(event) end

---Ends the handler; it runs again later.
---@param after lore.DurationLike
function retry(after) end

---@class lore.SendOptions
---@field after? lore.DurationLike
---@field at? lore.TimeLike
---@field key? string

---@class lore.Docs
lore_docs = {}
---A copy of the document, or nil.
---@param key string|integer
---@return table?
function lore_docs:get(key) end
---@param key string|integer
---@param document table
function lore_docs:put(key, document) end
---@param key string|integer
function lore_docs:remove(key) end
---@param key string|integer
---@param initial table
---@param change fun(document: table)
function lore_docs:update(key, initial, change) end

---@class lore.View
lore_view = {}
---@param key string|integer
---@return table?
function lore_view:get(key) end
---Both ends are included; nil: open.
---@param index string
---@param min? any
---@param max? any
---@return fun(): string, table
function lore_view:range(index, min, max) end
---@return fun(): string, table
function lore_view:all() end

---@class lore.HttpOptions
---@field json? any
---@field body? string
---@field headers? table<string, string>
---@field timeout? lore.DurationLike

---@class lore.HttpAnswer
---@field status integer
---@field headers table<string, string>
---@field body string
---@field json fun(): any

http = {}
---@param url string
---@param options? lore.HttpOptions
---@return lore.HttpAnswer
function http.get(url, options) end
---@param url string
---@param options? lore.HttpOptions
---@return lore.HttpAnswer
function http.post(url, options) end
---@param url string
---@param options? lore.HttpOptions
---@return lore.HttpAnswer
function http.put(url, options) end
---@param url string
---@param options? lore.HttpOptions
---@return lore.HttpAnswer
function http.delete(url, options) end

clock = {}
---@return lore.Time
function clock.now() end

log = {}
---@param format string
---@param ... any
function log.info(format, ...) end
---@param format string
---@param ... any
function log.warn(format, ...) end
---@param format string
---@param ... any
function log.error(format, ...) end

---Named secrets.
---@type table<string, string>
env = {}

-- --- declarations ---

---Commands (?) and events (!) of the context.
---@param text string
function contracts(text) end

---@class lore.AggregateOptions
---@field initial? table

---@class lore.ProjectionOptions
---@field key? false|fun(e: any, m: lore.Envelope): any
---@field initial? table
---@field index? string[]

---@class lore.ReceptorOptions
---@field since? "start"|"end"

---@class lore.TaskOptions
---@field every? lore.DurationLike
---@field cron? string
---@field zone? string
---@field at? lore.TimeLike
---@field missed? string

-- --- specs ---

---@param name string
---@param body fun()
function describe(name, body) end
---@param name string
---@param body fun()
function it(name, body) end
---@param body fun()
function before_each(body) end

---When an event happened, or a command is decided.
---@generic T
---@param moment lore.TimeLike
---@param message T
---@return T
function at(moment, message) end

---To which aggregate.
---@generic T
---@param id string|integer
---@param message T
---@return T
function on(id, message) end

---In a script what is declared; in a spec a scenario of it.
---@class lore.Aggregate
---@field conflicts? fun(mine: lore.Event, theirs: lore.Event): boolean
---@field given fun(self: lore.Aggregate, events: table): lore.Aggregate
---@field when fun(self: lore.Aggregate, commands: table): lore.Aggregate
---@field expect fun(self: lore.Aggregate, outcome: table): lore.Aggregate
---@field rejects fun(self: lore.Aggregate, code: string): lore.Aggregate
---@field fails fun(self: lore.Aggregate, pattern: string): lore.Aggregate
---@overload fun(options: lore.AggregateOptions): lore.Aggregate

---@class lore.Projection
---@field given fun(self: lore.Projection, events: table): lore.Projection
---@field expect fun(self: lore.Projection, outcome: table): lore.Projection
---@field fails fun(self: lore.Projection, pattern: string): lore.Projection
---@overload fun(options: lore.ProjectionOptions): lore.Projection

---@class lore.Receptor
---@field given fun(self: lore.Receptor, events: table): lore.Receptor
---@field expect fun(self: lore.Receptor, outcome: table): lore.Receptor
---@field fails fun(self: lore.Receptor, pattern: string): lore.Receptor
---@overload fun(options: lore.ReceptorOptions): lore.Receptor

---@class lore.Service
---@field when any
---@field given_view fun(self: lore.Service, name: string, documents: table<string, table>): lore.Service
---@field at fun(self: lore.Service, moment: lore.TimeLike): lore.Service
---@field env fun(self: lore.Service, secrets: table<string, string>): lore.Service
---@field http fun(self: lore.Service, answers: table|fun(request: table): table): lore.Service
---@field retries fun(self: lore.Service, after: lore.DurationLike): lore.Service
---@field expect fun(self: lore.Service, outcome: table): lore.Service
---@field rejects fun(self: lore.Service, code: string): lore.Service
---@field fails fun(self: lore.Service, pattern: string): lore.Service

---@class lore.Task
---@field run? fun(now: lore.Time)
---@field given_view fun(self: lore.Task, name: string, documents: table<string, table>): lore.Task
---@field at fun(self: lore.Task, moment: lore.TimeLike): lore.Task
---@field env fun(self: lore.Task, secrets: table<string, string>): lore.Task
---@field http fun(self: lore.Task, answers: table|fun(request: table): table): lore.Task
---@field retries fun(self: lore.Task, after: lore.DurationLike): lore.Task
---@field expect fun(self: lore.Task, outcome: table): lore.Task
---@field fails fun(self: lore.Task, pattern: string): lore.Task
---@overload fun(options: lore.TaskOptions): lore.Task

---What busted adds to assert.
---@class lore.Assert
---@overload fun(value: any, message?: any, ...: any): any
---@field same fun(expected: any, actual: any)
---@field equal fun(expected: any, actual: any)
---@field equals fun(expected: any, actual: any)
---@field is_true fun(value: any)
---@field is_false fun(value: any)
---@field is_nil fun(value: any)
---@field has_error fun(body: fun(), message?: any)
assert = {}
]==]
