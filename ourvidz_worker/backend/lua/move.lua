-- Takes one element out of a held list and pushes what replaces it onto another list.
-- A second run finds nothing to take out and pushes nothing. Returns 1 if it moved the element, else 0.
--
-- KEYS[1]  the held list
-- KEYS[2]  the list to push onto; without it the element just leaves
-- KEYS[3]  the holder's lease, where nothing may move as long as it exists
-- ARGV[1]  the element, escaped
-- ARGV[2]  what to push in its place, escaped
-- ARGV[3]  LPUSH or RPUSH
--
-- Elements may be any bytes but travel as JSON text: "%" and each byte that is not UTF-8 arrive as %XX.

local function bytes(escaped)
  return (string.gsub(escaped, "%%(%x%x)", function(code)
    return string.char(tonumber(code, 16))
  end))
end

if KEYS[3] and redis.call("EXISTS", KEYS[3]) == 1 then
  return 0
end
if redis.call("LREM", KEYS[1], 1, bytes(ARGV[1])) == 0 then
  return 0
end
if KEYS[2] then
  redis.call(ARGV[3], KEYS[2], bytes(ARGV[2]))
end
return 1
