-- Marks a held element as begun, so that whoever finds it after its owner's death charges the attempt; prolongs the
-- lease and looks for a cancellation on the way. Returns 1 if the job was cancelled, 0 if not, and nil when the lease
-- had lapsed or the element is gone. A second run changes nothing but the lease.
--
-- KEYS[1]  the owner's lease
-- KEYS[2]  the owner's held list
-- KEYS[3]  exists when the job was cancelled
-- ARGV[1]  seconds until the lease expires
-- ARGV[2]  the element, escaped
-- ARGV[3]  the element that says it was begun, escaped

local begun = unescape(ARGV[3])
if redis.call("EXPIRE", KEYS[1], ARGV[1]) == 0 then
  return nil
end
if redis.call("LREM", KEYS[2], 1, unescape(ARGV[2])) == 1 or redis.call("LREM", KEYS[2], 1, begun) == 1 then
  redis.call("LPUSH", KEYS[2], begun)
  return redis.call("EXISTS", KEYS[3])
end
return nil
