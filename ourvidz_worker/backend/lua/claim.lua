-- Confirms the owner's lease and takes the next element, so that nothing is ever held without a lease.
-- Returns the element, or nil when the queue is empty (the lease is confirmed all the same).
--
-- KEYS[1]  the owner's lease, a string that expires
-- KEYS[2]  the queue
-- KEYS[3]  the owner's held list, newest element first
-- ARGV[1]  the owner, kept in the lease for whoever looks
-- ARGV[2]  seconds until the lease expires
-- ARGV[3]  the end of the queue to take from: LEFT or RIGHT

redis.call("SET", KEYS[1], ARGV[1], "EX", ARGV[2])
return redis.call("LMOVE", KEYS[2], KEYS[3], ARGV[3], "LEFT")
