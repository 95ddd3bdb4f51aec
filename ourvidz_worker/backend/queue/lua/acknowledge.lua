-- Takes one element out of the owner's held list for good.
-- Returns what the owner still holds, newest first: an element nobody there knows of came with a lost answer.
--
-- KEYS[1]  the held list
-- ARGV[1]  the element, escaped

redis.call("LREM", KEYS[1], 1, unescape(ARGV[1]))
return redis.call("LRANGE", KEYS[1], 0, -1)
