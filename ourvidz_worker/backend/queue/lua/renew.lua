-- Prolongs the owner's lease and looks for cancellations. Returns 1 or 0 for each job, in order, and nil when the lease
-- had lapsed: then it stays so, because others may have taken the jobs.
--
-- KEYS[1]   the owner's lease
-- KEYS[2…]  exists when the job was cancelled
-- ARGV[1]   seconds until the lease expires

if redis.call("EXPIRE", KEYS[1], ARGV[1]) == 0 then
  return nil
end
local cancelled = {}
for position = 2, #KEYS do
  cancelled[position - 1] = redis.call("EXISTS", KEYS[position])
end
return cancelled
