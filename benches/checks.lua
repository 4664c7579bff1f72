-- Checks for wrk: wrk … -s checks.lua URL -- VERSION PRODUCTS
--
-- Asks for products product-00000 … product-(PRODUCTS - 1) in random order, each as a device of board rev-b that runs
-- VERSION. As many requests are prepared whatever PRODUCTS is, each a text of its own by its User-Agent, so that the
-- client's work, and what it takes of the caches, are the same. After the run it prints one line for benches/checks.

local PREPARED = 10000
local requests = {}

function init(arguments)
  local version, products = arguments[1], tonumber(arguments[2])
  for index = 0, PREPARED - 1 do
    local path = "/v1/check?product=product-%05d&version=%s&hardware=rev-b&channel=stable"
    local headers = { ["User-Agent"] = ("device-%05d"):format(index) }
    requests[index] = wrk.format("GET", path:format(index % products, version), headers)
  end
  math.randomseed(os.time())
end

function request()
  return requests[math.random(0, PREPARED - 1)]
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(("result %d %d %d %d"):format(summary.requests, summary.duration, failed, latency:percentile(99)))
end
