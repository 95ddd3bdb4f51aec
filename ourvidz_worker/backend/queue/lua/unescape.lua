-- Stands before every script that is given elements.
-- Elements may be any bytes but travel as JSON text: "%" and each byte that is not UTF-8 arrive as %XX.

local function unescape(text)
  return (string.gsub(text, "%%(%x%x)", function(code)
    return string.char(tonumber(code, 16))
  end))
end

