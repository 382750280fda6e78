# A server of an earlier revision, as a child process, whose tools are the misdeeds of tests/it/hostile.rs.
say() { printf '%s\n' "{\"jsonrpc\":\"2.0\",$1}"; }
good='"result":{"content":[{"type":"text","text":"done"}]}'
progress='{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}'
while IFS= read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}
  name=${line##*\"name\":\"}; name=${name%%\"*}
  case $line in
    *'"method":"initialize"'*)
      say "\"id\":$id,\"result\":{\"protocolVersion\":\"2025-03-26\",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"child\",\"version\":\"1\"}}" ;;
    *'"method":"tools/list"'*) say "\"id\":$id,\"result\":{\"tools\":[]}" ;;
    *'"method":"tools/call"'*)
      case $name in
        wrong_id) say "\"id\":424242,$good" ;;
        id_as_text) say "\"id\":\"$id\",$good" ;;
        two_answers) say "\"id\":$id,$good"; say "\"id\":$id,$good" ;;
        batch) echo "[{\"jsonrpc\":\"2.0\",\"id\":$id,$good}]" ;;
        no_json) echo '<html>' ;;
        endless_progress) yes "$progress" | head -n 200000 & ;;
        endless_line | endless_body) head -c 100000000 /dev/zero | tr '\0' x; echo ;;
        own_requests)
          for number in $(seq 500); do
            say "\"id\":$number,\"method\":\"ping\""
            say "\"id\":\"$number\",\"method\":\"sampling/createMessage\",\"params\":{}"
          done
          say "\"id\":$id,$good" ;;
        closes) printf '{"jsonrpc"'; exit ;;
        closes_at_once) exit ;;
        silence) ;;
        *) say "\"id\":$id,$good" ;;
      esac ;;
  esac
done
