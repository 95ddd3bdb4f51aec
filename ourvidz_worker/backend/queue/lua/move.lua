-- Takes one element out of a held list and pushes what replaces it onto another list.
-- A second run finds nothing to take out and pushes nothing. Returns 1 if it moved the element, else 0.
--
-- KEYS[1]  the held list
-- KEYS[2]  the list to push onto
-- KEYS[3]  the holder's lease, where nothing may move as long as it exists
-- ARGV[1]  the element, escaped
-- ARGV[2]  what to push in its place, escaped
-- ARGV[3]  LPUSH or RPUSH

if KEYS[3] and redis.call("EXISTS", KEYS[3]) == 1 then
  return 0
end
if redis.call("LREM", KEYS[1], 1, unescape(ARGV[1])) == 0 then
  return 0
end
redis.call(ARGV[3], KEYS[2], unescape(ARGV[2]))
return 1
