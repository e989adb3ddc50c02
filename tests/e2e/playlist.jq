# What is wrong with a live playlist that should have no seam, a sentence a line; nothing if
# nothing is. Its lines are the raw inputs.

# How far a date may be from the end of what is before it, in milliseconds.
1000 as $drift
| def millis: capture("^(?<secs>.*)[.](?<millis>[0-9]{3})Z$")
    | ((.secs + "Z" | fromdateiso8601) * 1000 + (.millis | tonumber));
reduce (inputs | rtrimstr("\r")) as $line ({at: null, number: null, segments: 0, wrong: []};
  if $line == "#EXT-X-DISCONTINUITY" then
    .wrong += ["a discontinuity before segment \(.number // "?")"]
  elif $line == "#EXT-X-ENDLIST" then .wrong += ["it has ended"]
  elif ($line | startswith("#EXT-X-DISCONTINUITY-SEQUENCE:")) and ($line | endswith(":0") | not) then
    .wrong += ["a discontinuity that has gone"]
  elif ($line | startswith("#EXT-X-MEDIA-SEQUENCE:")) then .number = ($line[22:] | tonumber)
  elif ($line | startswith("#EXT-X-PROGRAM-DATE-TIME:")) then
    ($line[25:] | millis) as $date
    | if .at != null and (($date - .at) | fabs) > $drift then
        .wrong += ["\($date - .at) ms between segment \(.number) and the one before it"]
      else . end
    | .at = $date
  elif ($line | startswith("#EXTINF:")) then
    .at += ($line[8:] | rtrimstr(",") | tonumber * 1000)
  elif ($line | startswith("#") | not) and $line != "" then
    (if ($line | capture("seg_(?<n>[0-9]+)[.]").n | tonumber) != .number then
      .wrong += ["\($line) in the place of segment \(.number)"]
    else . end)
    | .number += 1 | .segments += 1
  else . end)
| if .segments == 0 then .wrong += ["no segments"] else . end
| .wrong[]
