package org.nightgraft.work

import android.app.Notification
import android.app.NotificationChannel
import android.app.NotificationManager
import android.app.PendingIntent
import android.content.Context
import android.graphics.drawable.Icon
import android.os.Build
import org.nightgraft.Progress

/**
 * The notification that is there while training goes on that the owner has asked for.
 *
 * @property icon a small icon's number, such as `R.drawable.…`
 * @property title what it says in its first line
 * @property channelName what the system's settings call this kind of notifications
 * @property stop the label of the button that ends the training, saved; null for none
 * @property channelId the channel, which is made if there is none of this name
 * @property notificationId the notification's number, which no other of the app may have
 * @property text what it says in its second line
 */
public class WorkNotice(
    public val icon: Int,
    public val title: CharSequence,
    public val channelName: CharSequence,
    public val stop: CharSequence? = null,
    public val channelId: String = "org.nightgraft.training",
    public val notificationId: Int = 0x4e47,
    public val text: (Progress) -> CharSequence? = { null },
)

/** The notification as it is at this [progress]; [stop] ends the work. */
internal fun WorkNotice.notification(context: Context, progress: Progress?, stop: PendingIntent): Notification {
    val manager = context.getSystemService(NotificationManager::class.java)
    manager.createNotificationChannel(NotificationChannel(channelId, channelName, NotificationManager.IMPORTANCE_LOW))
    val bar = NoticeBar.of(progress)
    val builder =
        Notification.Builder(context, channelId)
            .setSmallIcon(icon)
            .setContentTitle(title)
            .setContentText(progress?.let(text))
            .setProgress(bar.max, bar.done, bar.isIndeterminate)
            .setOngoing(true)
            .setOnlyAlertOnce(true)
    this.stop?.let { builder.addAction(Notification.Action.Builder(null as Icon?, it, stop).build()) }
    if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.S) {
        // Otherwise Android shows it ten seconds later.
        builder.setForegroundServiceBehavior(Notification.FOREGROUND_SERVICE_IMMEDIATE)
    }
    return builder.build()
}

/** What a notification's bar shows. */
internal class NoticeBar(val max: Int, val done: Int) {
    /** While the steps are not known it only moves. */
    val isIndeterminate get() = max == 0

    companion object {
        fun of(progress: Progress?): NoticeBar {
            val steps = progress?.totalSteps ?: 0
            return NoticeBar(max = steps.toBar(), done = (progress?.step ?: 0).coerceAtMost(steps).toBar())
        }

        private fun Long.toBar() = coerceIn(0, Int.MAX_VALUE.toLong()).toInt()
    }
}
