-- Confirms the owner's lease and takes the next element, so that nothing is ever held without a lease.
-- Returns the element, nil when the queue is empty (the lease is confirmed all the same), or, of an element too
-- large to be a job, its length: it goes to the dead letters without ever travelling to a worker.
--
-- KEYS[1]  the owner's lease, a string that expires
-- KEYS[2]  the queue
-- KEYS[3]  the owner's held list, newest element first
-- KEYS[4]  the dead letters, newest first
-- ARGV[1]  the owner, kept in the lease for whoever looks
-- ARGV[2]  seconds until the lease expires
-- ARGV[3]  the end of the queue to take from: LEFT or RIGHT
-- ARGV[4]  the bytes that an element may have, and
-- ARGV[5]  how a redelivery begins, which wraps an element of that size and may be longer
-- ARGV[6]  the moment, for a dead letter

local LONGEST_WRAPPING = 8 -- a byte that is not UTF-8 becomes six characters, and a history comes with it

local function json_text(bytes)
  return '"' .. string.gsub(bytes, '[%c"\\]', function(character)
    return string.format("\\u%04x", string.byte(character))
  end) .. '"'
end

redis.call("SET", KEYS[1], ARGV[1], "EX", ARGV[2])
local element = redis.call("LMOVE", KEYS[2], KEYS[3], ARGV[3], "LEFT")
if not element then
  return element
end
local limit = tonumber(ARGV[4])
if string.sub(element, 1, #ARGV[5]) == ARGV[5] then
  limit = limit * LONGEST_WRAPPING
end
if #element <= limit then
  return element
end
redis.call("LPUSH", KEYS[4], '{"reason":"element has ' .. #element .. " bytes; at most " .. ARGV[4] .. ' are accepted",'
  .. '"attempt":1,"history":[],"died_at":"' .. ARGV[6] .. '","element":' .. json_text(element) .. "}")
redis.call("LPOP", KEYS[3])
return #element
