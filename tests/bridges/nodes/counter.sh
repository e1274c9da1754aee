#!/bin/sh
# A node in POSIX shell: in every step it reports to nobody how many steps there were.
count=0
while IFS= read -r line; do
    case $line in
    '{"msg":"INIT"'*)
        echo '{"msg":"READY","protocol":1,"capabilities":[]}'
        ;;
    '{"msg":"ADVANCE"'*)
        count=$((count + 1))
        from_us=${line#*\"from_us\":} from_us=${from_us%%,*}
        time_us=${line#*\"time_us\":} time_us=${time_us%%,*}
        echo '{"msg":"DONE","time_us":'"$time_us"',"events":[{"time_us":'"$from_us"',"dst":"","type":"count","payload":'$count'}]}'
        ;;
    *)
        exit 0
        ;;
    esac
done
