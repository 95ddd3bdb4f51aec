-- Takes a letter out of the dead letters, all its copies, and queues what it holds where a queue is named.
-- A second run finds nothing to take out and pushes nothing. Returns 1 if it took the letter out, else 0.
--
-- KEYS[1]  the dead letters
-- KEYS[2]  the queue, or absent
-- ARGV[1]  the letter's length in bytes
-- ARGV[2]  how it begins, escaped: all of it, or of a large one
-- ARGV[3]  also how it ends, escaped
-- ARGV[4]  what to push, escaped
-- ARGV[5]  LPUSH or RPUSH

local length, first, last = tonumber(ARGV[1]), unescape(ARGV[2]), unescape(ARGV[3])
local index = -1
local letter = redis.call("LINDEX", KEYS[1], index)
while letter do
  if #letter == length and string.sub(letter, 1, #first) == first and string.sub(letter, length - #last + 1) == last then
    redis.call("LREM", KEYS[1], 0, letter)
    if KEYS[2] then
      redis.call(ARGV[5], KEYS[2], unescape(ARGV[4]))
    end
    return 1
  end
  index = index - 1
  letter = redis.call("LINDEX", KEYS[1], index)
end
return 0
