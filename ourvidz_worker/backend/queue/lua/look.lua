-- Reads a list element by element, of large ones only the two ends.
-- Returns whether there are more elements (1 or 0), then for each its length and its bytes: all of them, or the first
-- followed by the last.
--
-- KEYS[1]  the list
-- ARGV[1]  the index to begin at
-- ARGV[2]  the step to the next one: 1 towards the right, -1 towards the left
-- ARGV[3]  how many elements at most
-- ARGV[4]  the bytes after which an answer ends, so that it stays small and Redis free for others
-- ARGV[5]  the length up to which an element is sent whole, and
-- ARGV[6]  how many bytes of each end are sent of a larger one

local index, left, bytes = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
local longest, edge = tonumber(ARGV[5]), tonumber(ARGV[6])
local seen = {1}
while left > 0 and bytes > 0 do
  local element = redis.call("LINDEX", KEYS[1], index)
  if not element then
    seen[1] = 0
    break
  end
  seen[#seen + 1] = #element
  if #element > longest then
    seen[#seen + 1] = string.sub(element, 1, edge) .. string.sub(element, -edge)
  else
    seen[#seen + 1] = element
  end
  index, left, bytes = index + tonumber(ARGV[2]), left - 1, bytes - #element
end
return seen
