-- The requests of one load row, and one line of figures at the end. There is no request(), so wrk builds the request
-- once and no Lua runs while it measures.
function init(args)
  if args[1] == "close" then
    wrk.headers["Connection"] = "close"
  elseif args[1] == "post" then
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "text/plain"
    wrk.body = string.rep("x", 1024)
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("\nfigures %d %d %d %d %d %d %d\n",
    summary.requests, summary.duration, summary.bytes,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
