-- Confirms the owner's lease and takes the next element, so that nothing is ever held without a lease.
--
-- Where several wait, the next one is the first, within a window from the end that is taken from, that is of a fast type
-- or may not be passed over: a redelivery, a job that has waited too long, or whatever does not clearly say its age.
-- Where there is none of these, it is the first of all. So fast jobs pass others only for a set time.
--
-- Returns the element and how many wait behind it. Nil when the queue is empty or the next element is not of the type
-- asked for; the lease is confirmed all the same. Of an element too large to be a job, its length: it goes to the dead
-- letters without ever travelling to a worker.
--
-- KEYS[1]   the owner's lease, a string that expires
-- KEYS[2]   the queue
-- KEYS[3]   the owner's held list, newest element first
-- KEYS[4]   the dead letters, newest first
-- ARGV[1]   the owner, kept in the lease for whoever looks
-- ARGV[2]   seconds until the lease expires
-- ARGV[3]   the end of the queue to take from: LEFT or RIGHT
-- ARGV[4]   the bytes that an element may have, and
-- ARGV[5]   how a redelivery begins, which wraps an element of that size and may be longer
-- ARGV[6]   the moment, in UTC and to the second as `2026-01-31T23:59:59`, maybe with more behind it
-- ARGV[7]   the moment, in the same form, of which and before which a job has waited too long
-- ARGV[8]   the only type to take, or empty
-- ARGV[9…]  the fast types; where there are none, jobs are taken in their order

local LONGEST_WRAPPING = 8 -- a byte that is not UTF-8 becomes six characters, and a history comes with it
local WRAPPINGS = 4 -- steps from an element to its job, in all spellings of contract section 1
local WINDOW = 32 -- elements
local WINDOW_BYTES = 65536
local MOMENT = "(%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d)%.?%d*([Z+:0]*)"

local from_left = ARGV[3] == "LEFT"
local wanted = ARGV[8]
local fast = {}
for position = 9, #ARGV do
  fast[ARGV[position]] = true
end

local function json_text(bytes)
  return '"' .. string.gsub(bytes, '[%c"\\]', function(character)
    return string.format("\\u%04x", string.byte(character))
  end) .. '"'
end

local function is_redelivery(element)
  return string.sub(element, 1, #ARGV[5]) == ARGV[5]
end

-- Raises an error where an element holds no job.
local function decode(element)
  local job = element
  for _ = 1, WRAPPINGS do
    if type(job) == "string" then
      job = cjson.decode(job)
    elseif #job == 1 then
      job = job[1]
    elseif job.data ~= nil and job.id == nil and job.job_id == nil and job.type == nil then
      job = job.data
    end
  end
  local job_type = job.type
  if job_type == nil or job_type == "" or type(job_type) == "userdata" then -- JSON's null
    job_type = job.job_type
  end
  return job_type, job.created_at
end

-- The type of a first delivery and when it was created, each nil where it does not say.
local function read(element)
  local clear, job_type, created_at = pcall(decode, element)
  if is_redelivery(element) or not clear then
    return nil, nil
  end
  return type(job_type) == "string" and job_type or nil, type(created_at) == "string" and created_at or nil
end

-- When a job was created, where its text says so only once; to decode a window of jobs would keep Redis from others.
local function created_at_a_glance(element)
  local at = string.find(element, "created_at", 1, true)
  if at and not string.find(element, "created_at", at + 1, true) then
    return string.match(element, '^created_at\\*"%s*:%s*\\*"' .. MOMENT .. '\\*"', at)
  end
end

local function is_young(moment, zone)
  local is_utc = zone == "" or zone == "Z" or zone == "+00:00"
  return is_utc and moment > string.sub(ARGV[7], 1, 19) and moment <= string.sub(ARGV[6], 1, 19)
end

local function names_a_fast_type(element)
  for name in pairs(fast) do
    if string.find(element, name, 1, true) then
      return true
    end
  end
  return false
end

local function may_be_passed(element)
  if is_redelivery(element) then
    return false
  end
  local moment, zone = created_at_a_glance(element)
  if moment and not is_young(moment, zone) then
    return false
  end
  if moment and not names_a_fast_type(element) then
    return true
  end
  local job_type, created_at = read(element)
  return not fast[job_type or ""] and is_young(string.match(created_at or "", "^" .. MOMENT .. "$"))
end

local function element_at(index)
  return redis.call("LINDEX", KEYS[2], from_left and index or -1 - index)
end

-- How many elements to pass over.
local function passed_over(waiting)
  if not next(fast) then
    return 0
  end
  local bytes = 0
  for index = 0, math.min(waiting, WINDOW) - 1 do
    local element = element_at(index)
    bytes = bytes + #element
    if bytes > WINDOW_BYTES then
      return 0
    end
    if not may_be_passed(element) then
      return index
    end
  end
  return 0
end

local function take(index)
  if index == 0 then
    return redis.call("LMOVE", KEYS[2], KEYS[3], ARGV[3], "LEFT")
  end
  -- An equal element nearer to the end would have been the next one. The push comes first: what a script did stays done
  -- where its next command fails.
  local element = element_at(index)
  redis.call("LPUSH", KEYS[3], element)
  redis.call("LREM", KEYS[2], from_left and 1 or -1, element)
  return element
end

redis.call("SET", KEYS[1], ARGV[1], "EX", ARGV[2])
local waiting = redis.call("LLEN", KEYS[2])
if waiting == 0 then
  return nil
end
local index = waiting > 1 and passed_over(waiting) or 0
if wanted ~= "" and read(element_at(index)) ~= wanted then
  return nil
end
local element = take(index)
local limit = tonumber(ARGV[4])
if is_redelivery(element) then
  limit = limit * LONGEST_WRAPPING
end
if #element <= limit then
  return {element, waiting - 1}
end
redis.call("LPUSH", KEYS[4], '{"reason":"element has ' .. #element .. " bytes; at most " .. ARGV[4] .. ' are accepted",'
  .. '"attempt":1,"history":[],"died_at":"' .. ARGV[6] .. '","element":' .. json_text(element) .. "}")
redis.call("LPOP", KEYS[3])
return #element
