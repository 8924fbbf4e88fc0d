-- clean_text.lua: a text as well-formed UTF-8: each byte that is none becomes U+FFFD.
return function(text)
  local length, bad = utf8.len(text)
  while not length do
    text = text:sub(1, bad - 1) .. "\u{FFFD}" .. text:sub(bad + 1)
    length, bad = utf8.len(text, bad + 3)
  end
  return text
end
